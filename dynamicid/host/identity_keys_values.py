"""Identity keys and values of all layers, made once per patch and kept per device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ..attention.identity import LayerIdentity, project_identity
from ..attention.people import People, token_rows
from ..checkpoints.weights import DynamicIDWeights

LayerIdentities = tuple[LayerIdentity, ...]
_MOST_ROLES = 4


@dataclass(frozen=True)
class IdentityKeysValues:
    """(positive, negative) keys and values of every cross-attention layer, in the order of the weights.

    Immutable but for caches that are filled on first use and never moved, so copies and devices share it.
    """

    layers: LayerIdentities
    _rows: dict[tuple[torch.device, torch.dtype, tuple[int, ...]], LayerIdentities] = field(
        default_factory=dict, compare=False, repr=False
    )

    def __deepcopy__(self, memo: dict[int, Any]) -> IdentityKeysValues:
        return self

    def rows(self, device: torch.device, dtype: torch.dtype, chunk_roles: tuple[int, ...]) -> LayerIdentities:
        """All layers on ``device`` in ``dtype``, one row a chunk (``chunk_roles``: 0 positive, 1 negative)."""
        key = (device, dtype, chunk_roles)
        layers = self._rows.get(key)
        if layers is None:
            if len(self._rows) >= _MOST_ROLES:
                self._rows.clear()
            layers = self._rows[key] = tuple(layer.rows(chunk_roles).to(device, dtype) for layer in self.layers)
        return layers


def project_people(weights: DynamicIDWeights, people: People) -> IdentityKeysValues:
    """Projects everybody's tokens through every layer's to_k_ip and to_v_ip, in float32 on the CPU."""
    rows = token_rows([people])
    with torch.no_grad():
        return IdentityKeysValues(
            tuple(
                project_identity(rows, layer.to_k_ip, layer.to_v_ip)
                for layer in weights.saa_layers
                if layer.to_k_ip is not None and layer.to_v_ip is not None
            )
        )
