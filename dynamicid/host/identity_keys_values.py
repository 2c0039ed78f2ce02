"""Identity keys and values of all layers, made once per patch and kept per device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import comfy.utils
import torch

from ..attention.identity import LayerIdentity, TokenRows, project_identity
from ..attention.people import People, token_rows
from ..checkpoints.weights import DynamicIDWeights

LayerIdentities = tuple[LayerIdentity, ...]
_MOST_ROLES = 4


@dataclass(frozen=True)
class IdentityKeysValues:
    """Keys and values of every cross-attention layer, in the order of the weights: F positive rows, one negative row.

    Immutable but for caches that are filled on first use and never moved, so copies and devices share it.
    """

    layers: LayerIdentities
    _rows: dict[tuple[torch.device, torch.dtype, tuple[int, ...]], LayerIdentities] = field(
        default_factory=dict, compare=False, repr=False
    )

    def __deepcopy__(self, memo: dict[int, Any]) -> IdentityKeysValues:
        return self

    @property
    def frames(self) -> int:
        """F: 1, or one for each picture of the batch."""
        return self.layers[0].key.shape[0] - 1

    def rows(self, layer: int, device: torch.device, dtype: torch.dtype, token_rows: tuple[int, ...]) -> LayerIdentity:
        """One layer on ``device`` in ``dtype``, one row a chunk (``token_rows``: 0 to F - 1 positive, F negative).

        Rows of one frame are put together once for all layers; of several frames layer by layer, as they would take
        as much memory again.
        """
        if self.frames == 1:
            return self._kept(device, dtype, token_rows)[layer]
        return self._kept(device, dtype, tuple(range(self.frames + 1)))[layer].rows(token_rows)

    def _kept(self, device: torch.device, dtype: torch.dtype, token_rows: tuple[int, ...]) -> LayerIdentities:
        key = (device, dtype, token_rows)
        layers = self._rows.get(key)
        if layers is None:
            if len(self._rows) >= _MOST_ROLES:
                self._rows.clear()
            layers = self._rows[key] = tuple(layer.rows(token_rows).to(device, dtype) for layer in self.layers)
        return layers


def byte_count(weights: DynamicIDWeights, pictures: Sequence[People]) -> int:
    """Bytes of the keys and values that ``project_people`` makes."""
    widths = sum(layer.to_k_ip.shape[0] for layer in weights.saa_layers if layer.to_k_ip is not None)
    return (len(pictures) + 1) * pictures[0].key_count * 2 * widths * torch.float32.itemsize


def project_people(weights: DynamicIDWeights, pictures: Sequence[People]) -> IdentityKeysValues:
    """Projects everybody's tokens through every layer's to_k_ip and to_v_ip, in float32 on the CPU.

    Shows progress and can be interrupted between layers: a second a layer where there are thousands of pictures.

    Args:
        weights: Loaded networks.
        pictures: The same people in F pictures, each with tokens of its own; negative tokens are the first's.
    """
    rows = TokenRows(*(x[: len(pictures) + 1] for x in token_rows(pictures)))
    projections = [
        (layer.to_k_ip, layer.to_v_ip)
        for layer in weights.saa_layers
        if layer.to_k_ip is not None and layer.to_v_ip is not None
    ]
    progress = comfy.utils.ProgressBar(len(projections))
    layers = []
    for to_k_ip, to_v_ip in projections:
        comfy.model_management.throw_exception_if_processing_interrupted()
        with torch.no_grad():
            layers.append(project_identity(rows, to_k_ip, to_v_ip))
        progress.update(1)
    return IdentityKeysValues(tuple(layers))
