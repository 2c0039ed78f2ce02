"""Wrappers around the host's sampling calls: they tell the layers which step, which rows and which area they are in."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..attention.assignment import Window
from .attention_patch import CrossAttentionPatch
from .state import NEGATIVE, POSITIVE, CallState, Evaluation, Patch


def _guider_key(patch: Patch) -> str:
    return f"{patch.key}.guider"


def _evaluation_key(patch: Patch) -> str:
    return f"{patch.key}.evaluation"


class _Wrapper:
    """A callable of one patch; copies of the model share it."""

    def __init__(self, patch: Patch) -> None:
        self.patch = patch

    def __deepcopy__(self, memo: dict[int, Any]) -> _Wrapper:
        return self


class SamplingRun(_Wrapper):
    """OUTER_SAMPLE: a new run begins; notes the guider, which knows the conditionings by name."""

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        self.patch.record.begin_run()
        guider = executor.class_obj
        guider.model_options.setdefault("transformer_options", {})[_guider_key(self.patch)] = weakref.ref(guider)
        return executor(*args, **kwargs)


class SamplingStep(_Wrapper):
    """CALC_COND_BATCH: one evaluation of all conditionings; works out roles and areas before they are batched."""

    def __call__(
        self,
        executor: Any,
        model: Any,
        conds: list[list[dict[str, Any]] | None],
        x_in: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any],
    ) -> Any:
        self.patch.record.begin_step()
        options = model_options.get("transformer_options", {})
        size = (x_in.shape[-2], x_in.shape[-1])
        guider = options.get(_guider_key(self.patch), lambda: None)()
        evaluation = Evaluation(_roles(guider, conds), _windows(conds, size), size)
        options = {**options, _evaluation_key(self.patch): evaluation}
        return executor(model, conds, x_in, timestep, {**model_options, "transformer_options": options})


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
        given = transformer_options or {}
        evaluation = given.get(_evaluation_key(self.patch)) or Evaluation()
        options = {**given, self.patch.key: CallState(self.patch, given, evaluation)}
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


def _roles(guider: Any, conds: list[list[dict[str, Any]] | None]) -> tuple[int, ...]:
    """POSITIVE or NEGATIVE for each conditioning list, by its name at the guider; by position where it has none."""
    by_list = {id(value): name for name, value in (getattr(guider, "conds", None) or {}).items()}
    names = [by_list.get(id(cond)) for cond in conds]
    if any(name is None and cond is not None for name, cond in zip(names, conds, strict=True)):
        return tuple(NEGATIVE if index == 1 else POSITIVE for index in range(len(conds)))
    return tuple(NEGATIVE if name is not None and "negative" in name else POSITIVE for name in names)


def _windows(conds: list[list[dict[str, Any]] | None], size: tuple[int, int]) -> dict[tuple[int, Any], Window]:
    """The area of each conditioning that has one, as shares of the latent."""
    height, width = size
    windows = {}
    for index, cond_list in enumerate(conds):
        for cond in cond_list or ():
            area = cond.get("area")
            if area is None:
                continue
            half = len(area) // 2
            area_height, area_width = area[half - 2 : half]
            y, x = area[-2:]
            area_height, area_width = min(area_height, height - y), min(area_width, width - x)
            windows[index, cond.get("uuid")] = Window(x / width, y / height, area_width / width, area_height / height)
    return windows
