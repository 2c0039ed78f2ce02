"""What the layers need to know of the current model call, decided once per call and without waiting for the GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from ..attention.identity import LayerIdentity
from ..attention.options import DEFAULTS
from ..attention.saa import Gate
from .identity_keys_values import IdentityKeysValues
from .layer_masks import GridKey, LayerMaskCache
from .recorder import ActivationRecord
from .rows import Evaluation, Row, RowGroups, check_frames, group_rows, rows_unknown


@dataclass(frozen=True)
class SigmaRange:
    """The noise levels of the model's own sampling from ``start`` down to ``end``, both included."""

    start: float = float("inf")
    end: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole sampling range."""
        return self.start >= _ANY_SIGMA and self.end <= 0

    def contains(self, sigma: Tensor) -> Tensor:
        """Which noise levels lie in it, boolean, in the shape of ``sigma``."""
        return (sigma <= self.start) & (sigma >= self.end)


_ANY_SIGMA = 1e8
"""The host's percent_to_sigma(0) is 999999999.9; no model samples from a noise level this high."""


@dataclass(frozen=True)
class SAASettings:
    """The strengths and ranges of one Apply node; sigmas are noise levels of the model's own sampling.

    Args:
        weight: id_scale.
        gate_threshold: 0..1, None = gate off.
        active: Where the identity branch acts.
        layout_sigma_end: The layout strength acts above this noise level.
    """

    weight: float = DEFAULTS.weight
    gate_threshold: float | None = DEFAULTS.gate_threshold
    active: SigmaRange = SigmaRange()
    layout_sigma_end: float = 0.0


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


class BlockRows:
    """Shared by all patches of a call: which rows the running block has, where another pack rearranged them.

    ``origins``: the row of the call that each row of the block is a copy of; None = the call's own rows.
    """

    origins: tuple[int, ...] | None = None


class CallState:
    """One model call: role and window of each row, and how far sampling has come.

    Args:
        patch: What the Apply node put in.
        options: The host's ``transformer_options`` (or a block's ``extra_options``) of this call.
        rows: The rows of the call.
        evaluation: What is known of the evaluation that the call belongs to, or None.
        block_rows: Set by the tracker while other packs rearrange the rows of a block.

    Raises:
        DynamicIDError: People have F motions, and the batch has another number of pictures.
    """

    def __init__(
        self,
        patch: Patch,
        options: Mapping[str, Any],
        rows: Sequence[Row],
        evaluation: Evaluation | None = None,
        block_rows: BlockRows | None = None,
    ) -> None:
        self.patch = patch
        self.latent_size = None if evaluation is None else evaluation.whole_size
        self.sigmas: Tensor | None = options.get("sigmas")
        self._rows = tuple(rows)
        self._block_rows = block_rows or BlockRows()
        self._groups: dict[tuple[int, ...] | None, RowGroups] = {}
        self._gates: dict[tuple[tuple[int, int], tuple[int, ...] | None], Gate] = {}
        check_frames(patch.keys_values.frames, self._rows, evaluation)

    def groups(self, query: Tensor) -> RowGroups:
        """Roles and windows of the rows of ``query`` (B, L, C).

        Raises:
            DynamicIDError: Another pack changed the number of rows in a way that was not seen.
        """
        origins = self._block_rows.origins
        groups = self._groups.get(origins)
        if groups is None:
            rows = self._rows if origins is None else [self._rows[i] for i in origins]
            groups = self._groups[origins] = group_rows(rows, self.patch.keys_values.frames)
        expected = groups.chunk_size * len(groups.chunk_roles)
        if query.shape[0] != expected:
            raise rows_unknown(query.shape[0], expected)
        return groups

    @cached_property
    def sigma(self) -> float:
        """The noise level as a number. Waits for the GPU: only for callbacks of other packs that want it."""
        return float("inf") if self.sigmas is None else float(self.sigmas.flatten()[0])

    def identity(self, layer: int, query: Tensor) -> LayerIdentity:
        """Keys and values of one layer for the chunks of ``query``."""
        return self.patch.keys_values.rows(layer, query.device, query.dtype, self.groups(query).token_rows)

    def gate(self, query: Tensor, grid: tuple[int, int]) -> Gate:
        """The gate of a grid; made for the first layer of that grid, used by the others."""
        key = (grid, self._block_rows.origins)
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = self._make_gate(query, grid, self.groups(query))
        return gate

    def _make_gate(self, query: Tensor, grid: tuple[int, int], groups: RowGroups) -> Gate:
        settings = self.patch.settings
        masks = self.patch.masks.at(GridKey(grid, groups.windows, groups.chunk_size, query.device, query.dtype))
        gain, offset = masks.gain, masks.offset
        if gain is not None and offset is not None and self.sigmas is not None:
            acting = self._flag(lambda sigma: sigma > settings.layout_sigma_end, query)
            gain, offset = 1 + (gain - 1) * acting, offset * acting
        if not settings.active.is_whole and self.sigmas is not None:
            active = self._flag(settings.active.contains, query)
            gain = active if gain is None else gain * active
            offset = None if offset is None else offset * active
        return Gate(settings.weight, settings.gate_threshold, masks.bias, gain, offset)

    def _flag(self, test: Any, query: Tensor) -> Tensor:
        """(1, 1) tensor of 0 or 1 on the query's device: a test of the noise level that nobody waits for."""
        assert self.sigmas is not None
        sigma = self.sigmas.flatten()[:1].to(query.device)
        return test(sigma).to(query.dtype).view(1, 1)
