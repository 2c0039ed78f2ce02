"""Identity keys and values of all layers, made once per patch and kept per device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..attention.identity import LayerIdentity, TokenSet, key_count, project_identity
from ..checkpoints.weights import DynamicIDWeights
from ..faces.regions import Region

LayerRows = tuple[LayerIdentity, ...]
_KEPT_ROLES = 4


@dataclass(frozen=True)
class IdentityKeysValues:
    """(positive, negative) keys and values of every cross-attention layer, in the order of the weights.

    Immutable but for caches that are filled on first use and never moved, so copies and devices share it.
    """

    layers: LayerRows
    _rows: dict[tuple[torch.device, torch.dtype, tuple[int, ...]], LayerRows] = field(
        default_factory=dict, compare=False, repr=False
    )

    def __deepcopy__(self, memo: dict[int, Any]) -> IdentityKeysValues:
        return self

    def rows(self, device: torch.device, dtype: torch.dtype, chunk_roles: tuple[int, ...]) -> LayerRows:
        """All layers on ``device`` in ``dtype``, one row a chunk (``chunk_roles``: 0 positive, 1 negative)."""
        key = (device, dtype, chunk_roles)
        found = self._rows.get(key)
        if found is None:
            if len(self._rows) >= _KEPT_ROLES:
                self._rows.clear()
            found = self._rows[key] = tuple(layer.rows(chunk_roles).to(device, dtype) for layer in self.layers)
        return found


def token_set(regions: Sequence[Region]) -> TokenSet:
    """The tokens of everybody, person after person."""
    faces = [region.face for region in regions]
    return TokenSet(
        positive=torch.cat([face.id_tokens for face in faces]).float(),
        negative=torch.cat([face.negative_tokens for face in faces]).float(),
        scale=torch.cat([face.token_scale for face in faces]).float(),
        counts=tuple(face.id_tokens.shape[0] for face in faces),
    )


def project_regions(weights: DynamicIDWeights, regions: Sequence[Region], assigned: bool) -> IdentityKeysValues:
    """Projects everybody's tokens through every layer's to_k_ip and to_v_ip, in float32 on the CPU.

    Args:
        weights: Loaded networks.
        regions: The people.
        assigned: Whether they are bound to their places.
    """
    tokens = token_set(regions)
    keys = key_count(tokens.counts, assigned)
    layers = []
    with torch.no_grad():
        for layer in weights.saa_layers:
            if layer.to_k_ip is not None and layer.to_v_ip is not None:
                layers.append(project_identity(tokens, layer.to_k_ip, layer.to_v_ip, keys))
    return IdentityKeysValues(tuple(layers))
