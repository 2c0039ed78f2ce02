"""Wrappers around the host's sampling calls: they tell the layers which step, which rows and which area they are in."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from comfy.conds import CONDRegular
from torch import Tensor

from ..errors import DynamicIDError
from .attention_patch import CrossAttentionPatch
from .graph import running_node_key
from .row_tracking import TrackedRows, plain, rows_of
from .rows import NEGATIVE, POSITIVE, ROW_NUMBERS, Entry, Evaluation, Row, evaluation_of, rows_by_default, rows_unknown
from .state import BlockRows, CallState, Patch

Conditionings = Sequence[Sequence[Mapping[str, Any]] | None]

# Shared by all Apply nodes of a model, in ``transformer_options``:
_LATENT = "dynamicid.latent"  # the whole latent of the step
_EVALUATION = "dynamicid.evaluation"
_ROWS = "dynamicid.rows"  # rows of the model call
_BLOCK_ROWS = "dynamicid.block_rows"


def _guider_key(patch: Patch) -> str:
    return f"{patch.key}.guider"


class _Wrapper:
    """A callable of one patch; copies of the model share it."""

    def __init__(self, patch: Patch) -> None:
        self.patch = patch

    def __deepcopy__(self, memo: dict[int, Any]) -> _Wrapper:
        return self


class SamplingRun(_Wrapper):
    """OUTER_SAMPLE: a new run begins; notes the guider, which knows the conditionings by name."""

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        if self.patch.record.enabled:
            self.patch.record.begin_run(running_node_key())
        guider = executor.class_obj
        guider.model_options.setdefault("transformer_options", {})[_guider_key(self.patch)] = weakref.ref(guider)
        return executor(*args, **kwargs)


class NoisePrediction(_Wrapper):
    """PREDICT_NOISE: notes the whole latent, of which other packs may evaluate parts."""

    def __call__(
        self, executor: Any, x: Tensor, timestep: Tensor, model_options: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        return executor(x, timestep, _with_options(model_options, {_LATENT: x}), *args, **kwargs)


class SamplingStep(_Wrapper):
    """CALC_COND_BATCH: one evaluation of all conditionings; numbers their rows before the host batches them."""

    def __call__(
        self, executor: Any, model: Any, conds: Conditionings, x_in: Tensor, timestep: Tensor, model_options: Any
    ) -> Any:
        options = model_options.get("transformer_options", {})
        if self.patch.record.enabled:
            self.patch.record.begin_evaluation(_step_of(timestep, options.get("sample_sigmas")))
        if _EVALUATION not in options:
            guider = options.get(_guider_key(self.patch), lambda: None)()
            entries = _entries(guider, conds, x_in.shape[-2:])
            evaluation = evaluation_of(entries, x_in, options.get(_LATENT, x_in), _window(options))
            conds = _numbered(conds, x_in.shape[0])
            model_options = _with_options(model_options, {_EVALUATION: evaluation})
        return executor(model, conds, x_in, timestep, model_options)


class ModelInput(_Wrapper):
    """APPLY_MODEL: one call of the model, its input not scaled yet; finds out what each row is."""

    def __call__(
        self,
        executor: Any,
        x: Tensor,
        t: Tensor,
        c_concat: Any = None,
        c_crossattn: Any = None,
        control: Any = None,
        transformer_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        options = dict(transformer_options or {})
        numbers = kwargs.pop(ROW_NUMBERS, None)
        evaluation = options.get(_EVALUATION)
        if evaluation is not None and _ROWS not in options:
            if numbers is not None and numbers.shape[0] == x.shape[0]:
                options[_ROWS] = evaluation.rows_of_numbers(numbers.tolist(), x)
            else:
                options[_ROWS] = evaluation.rows_in_order(options, x)
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


class ModelCall(_Wrapper):
    """DIFFUSION_MODEL: one call of the UNet; decides the state that its layers read."""

    def __call__(
        self,
        executor: Any,
        x: Tensor,
        timesteps: Tensor | None = None,
        context: Tensor | None = None,
        y: Tensor | None = None,
        control: Any = None,
        transformer_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        options = dict(transformer_options or {})
        evaluation: Evaluation | None = options.get(_EVALUATION)
        rows: Sequence[Row] | None = options.get(_ROWS)
        if rows is None:
            rows = rows_by_default(options, x.shape[0])
        if len(rows) != x.shape[0]:
            raise rows_unknown(x.shape[0], len(rows))
        if _BLOCK_ROWS not in options:
            options[_BLOCK_ROWS] = BlockRows()
            _track_block_rows(options)
        options[self.patch.key] = CallState(self.patch, options, rows, evaluation, options[_BLOCK_ROWS])
        self._wrap_three_part_keys(options)
        return executor(x, timesteps, context, y, control, options, **kwargs)

    def _wrap_three_part_keys(self, options: dict[str, Any]) -> None:
        """A callable at (block, number, transformer) would shadow ours at (block, number): wrap it for this call."""
        replace = options.get("patches_replace", {})
        blocks = replace.get("attn2", {})
        shadowing: dict[Any, Callable[..., Tensor]] = {
            key: blocks[key] for key in blocks if len(key) == 3 and not isinstance(blocks[key], CrossAttentionPatch)
        }
        if not shadowing:
            return
        wrapped = dict(blocks)
        for key, foreign in shadowing.items():
            own = blocks.get(key[:2])
            if isinstance(own, CrossAttentionPatch) and own.patch is self.patch:
                wrapped[key] = own.wrapping(foreign)
        options["patches_replace"] = {**replace, "attn2": wrapped}


def _with_options(model_options: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``model_options`` with entries added to its transformer options."""
    return {**model_options, "transformer_options": {**model_options.get("transformer_options", {}), **added}}


def _window(options: Mapping[str, Any]) -> list[int]:
    """The numbers of the pictures that are evaluated, where a context window of the host or of another pack tells."""
    window = options.get("context_window")
    if window is not None and getattr(window, "dim", None) == 0:
        anchor = getattr(window, "causal_anchor_index", None)
        return [*([] if anchor is None else [anchor]), *window.index_list]
    # AnimateDiff-Evolved
    return list((options.get("ad_params") or {}).get("sub_idxs") or ())


def _entries(guider: Any, conds: Conditionings, size: Sequence[int]) -> tuple[Entry, ...]:
    """All conditionings of all lists, in order, with their areas in cells of a latent of ``size`` (height, width)."""
    entries = []
    for index, (role, cond_list) in enumerate(zip(_roles(guider, conds), conds, strict=True)):
        for cond in cond_list or ():
            entries.append(Entry(role, (index, cond.get("uuid")), _area(cond.get("area"), size)))
    return tuple(entries)


def _roles(guider: Any, conds: Conditionings) -> tuple[int, ...]:
    """POSITIVE or NEGATIVE for each conditioning list, by its name at the guider; by position where it has none."""
    by_list = {id(value): name for name, value in (getattr(guider, "conds", None) or {}).items()}
    names = [by_list.get(id(cond)) for cond in conds]
    if any(name is None and cond is not None for name, cond in zip(names, conds, strict=True)):
        return tuple(NEGATIVE if index == 1 else POSITIVE for index in range(len(conds)))
    return tuple(NEGATIVE if name is not None and "negative" in name else POSITIVE for name in names)


def _area(area: Sequence[Any] | None, size: Sequence[int]) -> tuple[int, int, int, int]:
    """(y, x, height, width) in cells of a conditioning's area (sizes, then offsets), cut off at the latent's edge."""
    height, width = size
    if area is None:
        return 0, 0, height, width
    half = len(area) // 2
    area_height, area_width = area[half - 2 : half]
    y, x = area[-2:]
    return y, x, min(area_height, height - y), min(area_width, width - x)


def _numbered(conds: Conditionings, pictures: int) -> list[list[dict[str, Any]] | None]:
    """Copies of all conditionings that carry the numbers of their rows through the host's batching."""
    entry = 0
    numbered: list[list[dict[str, Any]] | None] = []
    for cond_list in conds:
        if cond_list is None:
            numbered.append(None)
            continue
        copies = []
        for cond in cond_list:
            rows = torch.stack([torch.full((pictures,), entry), torch.arange(pictures)], dim=1)
            models = {**cond.get("model_conds", {}), ROW_NUMBERS: CONDRegular(rows)}
            copies.append({**cond, "model_conds": models})
            entry += 1
        numbered.append(copies)
    return numbered


def _step_of(timestep: Tensor, sample_sigmas: Tensor | None) -> int | None:
    """The sampling step in which a noise level lies, counted from 0. Waits for the device; only for recording."""
    if sample_sigmas is None or len(sample_sigmas) < 2:
        return None
    sigma = float(timestep.flatten()[0]) * (1 - 1e-5)
    return max(sum(level >= sigma for level in sample_sigmas[:-1].tolist()), 1) - 1


def _track_block_rows(options: dict[str, Any]) -> None:
    """Follow the rows of each cross-attention through the ``attn2_patch`` callables of other packs."""
    patches = options.get("patches", {})
    foreign = list(patches.get("attn2_patch", ()))
    if not foreign:
        return
    block_rows: BlockRows = options[_BLOCK_ROWS]

    def start(n: Tensor, context: Tensor, value: Tensor, extra_options: Any) -> tuple[Tensor, Tensor, Tensor]:
        return TrackedRows.start(n), context, value

    def end(n: Tensor, context: Tensor, value: Tensor, extra_options: Any) -> tuple[Tensor, Tensor, Tensor]:
        origins = rows_of(n)
        if origins is None:
            names = ", ".join(
                f"{getattr(p, '__module__', '')}.{getattr(p, '__qualname__', type(p).__name__)}" for p in foreign
            )
            raise DynamicIDError(
                "model",
                f"Another node's attention patch ({names}) rearranges rows in a way that cannot be followed.",
                "Remove that node, or place people and prompts with ComfyUI's Conditioning (Set Mask) or (Set Area).",
            )
        block_rows.origins = None if origins == list(range(len(origins))) else tuple(origins)
        return plain(n), context, value

    options["patches"] = {**patches, "attn2_patch": [start, *foreign, end]}
