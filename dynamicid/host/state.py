"""What the layers need to know of the current model call, decided once per call and without waiting for the GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from ..attention.assignment import WHOLE, Window
from ..attention.options import DEFAULTS
from ..attention.saa import Gate
from .identity_keys_values import IdentityKeysValues, LayerIdentities
from .layer_masks import GridKey, LayerMaskCache
from .recorder import ActivationRecord

POSITIVE, NEGATIVE = 0, 1


@dataclass(frozen=True)
class SAASettings:
    """The strengths and ranges of one Apply node; sigmas are noise levels of the model's own sampling.

    Args:
        weight: id_scale.
        gate_threshold: 0..1, None = gate off.
        sigma_start: The identity branch acts from this noise level ...
        sigma_end: ... down to this one.
        layout_sigma_end: The layout strength acts above this noise level.
    """

    weight: float = DEFAULTS.weight
    gate_threshold: float | None = DEFAULTS.gate_threshold
    sigma_start: float = float("inf")
    sigma_end: float = 0.0
    layout_sigma_end: float = 0.0

    @property
    def always_active(self) -> bool:
        """Whether the branch acts over the whole sampling range."""
        return self.sigma_start >= _ANY_SIGMA and self.sigma_end <= 0


_ANY_SIGMA = 1e8
"""The host's percent_to_sigma(0) is 999999999.9; no model samples from a noise level this high."""


@dataclass(frozen=True)
class Evaluation:
    """What the host knows of a step before it splits it into model calls.

    Args:
        roles: POSITIVE or NEGATIVE for each index that ``cond_or_uncond`` may hold.
        windows: The area of each (index, uuid) that has one.
        latent_size: Height and width of the whole latent.
    """

    roles: tuple[int, ...] = (POSITIVE, NEGATIVE)
    windows: Mapping[tuple[int, Any], Window] = field(default_factory=dict)
    latent_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Patch:
    """Everything one Apply node put into a model; immutable but for caches, shared by all copies."""

    key: str
    keys_values: IdentityKeysValues
    masks: LayerMaskCache
    settings: SAASettings
    record: ActivationRecord

    def __deepcopy__(self, memo: dict[int, Any]) -> Patch:
        return self


class CallState:
    """One model call: which rows are negative, which window each chunk sees, how far sampling has come.

    Args:
        patch: What the Apply node put in.
        options: The host's ``transformer_options`` (or a block's ``extra_options``) of this call.
        evaluation: The step this call belongs to.
    """

    def __init__(self, patch: Patch, options: Mapping[str, Any], evaluation: Evaluation) -> None:
        self.patch = patch
        indices: Sequence[int] = options.get("cond_or_uncond") or (0,)
        uuids = options.get("uuids") or (None,) * len(indices)
        roles = evaluation.roles
        self.chunk_roles = tuple(roles[i] if i < len(roles) else POSITIVE for i in indices)
        pairs = zip(indices, uuids, strict=False)
        self.windows = tuple(evaluation.windows.get(pair, WHOLE) for pair in pairs)
        self.latent_size = evaluation.latent_size
        self.sigmas: Tensor | None = options.get("sigmas")
        self._gates: dict[tuple[int, int], Gate] = {}
        self._rows: LayerIdentities | None = None

    @cached_property
    def sigma(self) -> float:
        """The noise level as a number. Waits for the GPU: only for callbacks of other packs that want it."""
        return float("inf") if self.sigmas is None else float(self.sigmas.flatten()[0])

    def rows(self, query: Tensor) -> LayerIdentities:
        """Keys and values of all layers for the chunks of this call."""
        if self._rows is None:
            self._rows = self.patch.keys_values.rows(query.device, query.dtype, self.chunk_roles)
        return self._rows

    def gate(self, query: Tensor, grid: tuple[int, int]) -> Gate:
        """The gate of a grid; made for the first layer of that grid, used by the others."""
        gate = self._gates.get(grid)
        if gate is None:
            gate = self._gates[grid] = self._make_gate(query, grid)
        return gate

    def _make_gate(self, query: Tensor, grid: tuple[int, int]) -> Gate:
        settings = self.patch.settings
        pictures = query.shape[0] // len(self.chunk_roles)
        masks = self.patch.masks.at(GridKey(grid, self.windows, pictures, query.device, query.dtype))
        gain, offset = masks.gain, masks.offset
        if gain is not None and offset is not None and self.sigmas is not None:
            acting = self._flag(lambda sigma: sigma > settings.layout_sigma_end, query)
            gain, offset = 1 + (gain - 1) * acting, offset * acting
        if not settings.always_active and self.sigmas is not None:
            active = self._flag(lambda s: (s <= settings.sigma_start) & (s >= settings.sigma_end), query)
            gain = active if gain is None else gain * active
            offset = None if offset is None else offset * active
        return Gate(settings.weight, settings.gate_threshold, masks.bias, gain, offset)

    def _flag(self, test: Any, query: Tensor) -> Tensor:
        """(1, 1) tensor of 0 or 1 on the query's device: a test of the noise level that nobody waits for."""
        assert self.sigmas is not None
        sigma = self.sigmas.flatten()[:1].to(query.device)
        return test(sigma).to(query.dtype).view(1, 1)
