"""The callable that stands at one cross-attention block of the host, and how it lives with other packs' callables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comfy.ldm.modules.attention import optimized_attention
from einops import rearrange
from torch import Tensor

from ..attention.person_maps import person_maps
from ..attention.saa import add_identity
from .rows import POSITIVE, rows_by_default
from .state import CallState, Patch

Replacement = Callable[[Tensor, Tensor, Tensor, dict[str, Any]], Tensor]


def layer_grid(extra_options: Mapping[str, Any], queries: int) -> tuple[int, int]:
    """(height, width) of a layer: the true grid where the host tells it, else the latent's aspect at this length."""
    *_, height, width = extra_options.get("activations_shape") or (0, 0)
    if height * width == queries:
        return height, width
    *_, full_height, full_width = extra_options["original_shape"]
    height = max(round((queries * full_height / full_width) ** 0.5), 1)
    while queries % height:
        height -= 1
    return height, queries // height


class CrossAttentionPatch:
    """``patches_replace["attn2"]`` callable of one block: what stood there before, plus the identity branch.

    Args:
        patch: What the Apply node put in; shared by all blocks and all copies of the model.
        first_layer: Position of the block's first transformer in the patch's layers.
        previous: The callable that stood at this block before, or None for the host's own attention.
        stacked: (callback, kwargs) pairs that other packs added on top.
    """

    def __init__(
        self,
        patch: Patch,
        first_layer: int,
        previous: Replacement | None = None,
        stacked: tuple[tuple[Callable[..., Tensor], dict[str, Any]], ...] = (),
    ) -> None:
        self.patch = patch
        self.first_layer = first_layer
        self.previous = previous
        self.stacked = stacked

    def add(self, callback: Callable[..., Tensor], **kwargs: Any) -> None:
        """Stacks another pack's callback on this block, as cubiq's IP-Adapter does to a patch it finds.

        ``callback(out, q, k, v, extra_options, **kwargs)`` returns what to add to ``out``; it acts while the noise
        level is in ``kwargs["sigma_end"] .. kwargs["sigma_start"]``. Copies made before are not affected.
        """
        self.stacked = (*self.stacked, (callback, kwargs))

    def independent_copy(self) -> CrossAttentionPatch:
        """A copy that can be stacked upon without the original noticing."""
        return CrossAttentionPatch(self.patch, self.first_layer, self.previous, self.stacked)

    def __deepcopy__(self, memo: dict[int, Any]) -> CrossAttentionPatch:
        return self.independent_copy()

    def wrapping(self, foreign: Replacement) -> CrossAttentionPatch:
        """A copy in which ``foreign`` takes the place of the host's attention or of the callable wrapped so far."""
        inner = self.previous
        previous = inner.wrapping(foreign) if isinstance(inner, CrossAttentionPatch) else foreign
        return CrossAttentionPatch(self.patch, self.first_layer, previous, self.stacked)

    def to(self, target: Any) -> CrossAttentionPatch:
        """Called by the host before and after sampling. Ours are kept per device, the wrapped callable is told."""
        move = getattr(self.previous, "to", None)
        if move is None:
            return self
        moved = move(target)
        if moved is self.previous:
            return self
        return CrossAttentionPatch(self.patch, self.first_layer, moved, self.stacked)

    def models(self) -> list[Any]:
        """Models the host must load for the wrapped callable; ours needs none."""
        models = getattr(self.previous, "models", None)
        return [] if models is None else models()

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        """q (B, L, C), k and v (B, S, C) -> (B, L, C), before the output projection."""
        heads = extra_options["n_heads"]
        if self.previous is not None:
            out = self.previous(q, k, v, extra_options)
        else:
            precision = extra_options.get("attn_precision")
            out = optimized_attention(q, k, v, heads, attn_precision=precision, transformer_options=extra_options)
        state = extra_options.get(self.patch.key)
        if state is None:
            state = CallState(self.patch, extra_options, rows_by_default(extra_options, q.shape[0]))
        identity = state.identity(self.first_layer + extra_options.get("block_index", 0), q)
        gate = state.gate(q, layer_grid(extra_options, q.shape[1]))
        combined = add_identity(out, q, identity, heads, gate)
        if self.patch.record.enabled:
            self._record(state, q, extra_options)
        for callback, kwargs in self.stacked:
            if kwargs.get("sigma_end", 0.0) <= state.sigma <= kwargs.get("sigma_start", float("inf")):
                combined = combined + callback(combined, q, k, v, extra_options, **kwargs)
        return combined.to(q.dtype)

    def _record(self, state: CallState, q: Tensor, extra_options: dict[str, Any]) -> None:
        """Hands this layer's gate maps of the positive chunks to the record."""
        heads, counts = extra_options["n_heads"], self.patch.record.counts
        grid = layer_grid(extra_options, q.shape[1])
        identity = state.identity(self.first_layer + extra_options.get("block_index", 0), q)
        gate, groups = state.gate(q, grid), state.groups(q)
        per_person = person_maps(q, identity, heads, gate, counts)
        latent_size = state.latent_size or tuple(extra_options["original_shape"][-2:])
        height, width = grid
        maps = rearrange(per_person, "r people (n h w) -> r n people h w", h=height, w=width)
        for chunk, role in enumerate(groups.chunk_roles):
            if role == POSITIVE:
                self.patch.record.add(maps[chunk], groups.pictures[chunk], latent_size, groups.windows[chunk])


def detach_stacks(old: Any, new: Any) -> None:
    """ON_CLONE callback: newer hosts share patch objects between a model and its clone; this one gets its own.

    Args:
        old, new: The host's ModelPatchers.
    """
    blocks = new.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
    for key, patch in blocks.items():
        if isinstance(patch, CrossAttentionPatch):
            blocks[key] = patch.independent_copy()
