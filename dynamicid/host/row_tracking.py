"""Follows the rows of a tensor through the batch operations of other packs.

Regional prompts, attention couple and the like repeat, split or reorder the rows of a cross-attention before it runs. A
:class:`TrackedRows` behaves as the tensor it stands for and knows, after each such operation, which row of the original
each of its rows is a copy of. The numbers are kept on the CPU, so that following them waits for no GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

UNKNOWN = -1
"""Number of a row that was not in the original."""

_JOINING = frozenset({"cat", "concat", "concatenate", "stack", "vstack", "hstack", "row_stack"})
_INDEXING = frozenset({"__getitem__", "index_select"})
_RESHAPING = frozenset({"reshape", "view", "expand", "unflatten"})
_MOVING = frozenset(
    {
        "repeat", "repeat_interleave", "tile", "chunk", "split", "split_with_sizes", "tensor_split", "unbind", "narrow",
        "select", "flip", "roll", "flatten", "unsqueeze", "squeeze", "permute", "transpose", "swapaxes", "movedim",
        "clone",
    }
)  # fmt: skip
_KEEPING = frozenset(
    {
        "add", "sub", "mul", "div", "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__",
        "__rtruediv__", "__neg__", "neg", "lerp", "clamp", "to", "type", "type_as", "float", "half", "bfloat16",
        "double", "cpu", "cuda", "contiguous", "detach", "linear", "layer_norm", "rms_norm", "group_norm", "dropout",
        "gelu", "silu", "relu", "tanh", "sigmoid", "softmax", "nan_to_num", "masked_fill",
    }
)  # fmt: skip
"""Operations that change values but leave each row where it is, as long as the leading dimensions stay."""


class TrackedRows(Tensor):
    """A tensor (rows, L, C) that knows the origin of its rows.

    Attributes:
        rows: int64 on the CPU in the shape of all dimensions but the last two; :data:`UNKNOWN` for a row that was not
            in the original.
    """

    rows: Tensor

    @staticmethod
    def start(tensor: Tensor) -> TrackedRows:
        """Number the rows of ``tensor`` (rows, L, C) from 0; the memory is shared."""
        return _tracked(tensor, torch.arange(tensor.shape[0]))

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
            name = getattr(func, "__name__", "")
            if name == "__setitem__":
                _set_rows(*args)
                return result
            rows = _rows_after(name, func, args, kwargs, result)
            return _attached(result, rows)


def rows_of(tensor: Tensor) -> list[int] | None:
    """Origin of each row of ``tensor`` (rows, L, C), or None where it is not known of every row."""
    rows = getattr(tensor, "rows", None)
    if not isinstance(tensor, TrackedRows) or rows is None or rows.ndim != 1 or bool((rows == UNKNOWN).any()):
        return None
    return rows.tolist()


def plain(tensor: Tensor) -> Tensor:
    """``tensor`` without its row numbers."""
    return tensor.as_subclass(Tensor)


def _tracked(tensor: Tensor, rows: Tensor) -> TrackedRows:
    tracked = tensor.as_subclass(TrackedRows)
    tracked.rows = rows
    return tracked


def _tracked_arguments(values: Any) -> Iterator[TrackedRows]:
    if isinstance(values, TrackedRows):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tracked_arguments(value)


def _rows_after(
    name: str, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
) -> Any:
    """Row numbers of ``result`` in its own structure (tensor, list or tuple), or None where they are not known."""
    tracked = list(_tracked_arguments([*args, *kwargs.values()]))
    if name in _KEEPING:
        first = tracked[0].rows
        return first if all(other.rows.equal(first) for other in tracked[1:]) else None
    if name in _JOINING:
        convert = _marker
    elif name in _INDEXING:
        convert = _index
    elif name in _MOVING or name in _RESHAPING:
        convert = _marker
    else:
        return None
    width = tracked[0].shape[-2:]
    marked = [convert(value) for value in args]
    if name in _RESHAPING:
        sizes = marked[1:]
        marked[1:] = _without_width(sizes, width) if _are_sizes(sizes) else [_without_width(x, width) for x in sizes]
        kwargs = {key: _without_width(value, width) for key, value in kwargs.items()}
    try:
        moved = func(*marked, **{key: convert(value) for key, value in kwargs.items()})
    except (RuntimeError, IndexError, TypeError, ValueError):
        return None
    if isinstance(moved, Tensor):
        return _leading(moved)
    return [_leading(part) for part in moved]


def _set_rows(target: Any, index: Any, value: Any) -> None:
    """``target[index] = value`` for the row numbers: rows of an untracked value are unknown."""
    if not isinstance(target, TrackedRows):
        return
    marker = target.rows.clone()[..., None, None]
    marker[_index(index)] = _marker(value) if isinstance(value, TrackedRows) else UNKNOWN
    target.rows = marker[..., 0, 0]


def _marker(value: Any) -> Any:
    """A tensor's row numbers in its place, with L and C reduced to 1."""
    if isinstance(value, TrackedRows):
        return value.rows[..., None, None]
    if isinstance(value, Tensor):
        return torch.full((*value.shape[:-2], 1, 1), UNKNOWN)
    if isinstance(value, (list, tuple)) and any(isinstance(part, Tensor) for part in value):
        return [_marker(part) for part in value]
    return value


def _index(value: Any) -> Any:
    """As :func:`_marker`; other tensors are indices and stay as they are, on the CPU."""
    if isinstance(value, TrackedRows):
        return value.rows[..., None, None]
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, tuple):
        return tuple(_index(part) for part in value)
    return value


def _are_sizes(values: Sequence[Any]) -> bool:
    return len(values) > 1 and all(isinstance(value, int) for value in values)


def _without_width(value: Any, width: Sequence[int]) -> Any:
    """Sizes (..., L, C) with L and C, or -1 in their place, replaced by 1."""
    if isinstance(value, (list, tuple, torch.Size)):
        kept, last = list(value[:-2]), list(value[-2:])
        return [*kept, *(1 if size in (whole, -1) else size for size, whole in zip(last, width, strict=True))]
    return value


def _leading(marker: Tensor) -> Tensor | None:
    """Row numbers of a moved marker; None where its last two dimensions are no longer L and C."""
    return marker[..., 0, 0] if marker.ndim >= 2 and tuple(marker.shape[-2:]) == (1, 1) else None


def _attached(result: Any, rows: Any) -> Any:
    """``result`` with its row numbers, where they are known and fit its shape."""
    if isinstance(result, (list, tuple)) and isinstance(rows, list) and len(rows) == len(result):
        parts = [_attached(part, part_rows) for part, part_rows in zip(result, rows, strict=True)]
        return type(result)(parts) if type(result) in (list, tuple) else tuple(parts)
    if isinstance(result, Tensor):
        bare = result.as_subclass(Tensor)
        if isinstance(rows, Tensor) and tuple(rows.shape) == tuple(bare.shape[:-2]):
            return _tracked(bare, rows)
        return bare
    return result
