"""The SAA layers of a file: low-rank changes, identity keys and values (docs/method.md, Weight files)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .keys import CROSS_ATTENTION_NAMES, LORA_TARGETS, SAA_NAME, SELF_ATTENTION_NAMES
from .layout import NetworkPart, counted, listed
from .networks import check_dtype, misfit
from .weight_file import TensorEntry, quoted


class LowRank(NamedTuple):
    """W' = W + up @ down. up (out, rank), down (rank, in)."""

    up: Tensor
    down: Tensor


@dataclass(frozen=True, eq=False)
class SAALayerWeights:
    """One attention layer.

    Attributes:
        lora: Low-rank change by projection: "to_q", "to_k", "to_v", "to_out".
        to_k_ip: Identity keys (C, token width); None in self-attention.
        to_v_ip: Identity values (C, token width); None in self-attention.
    """

    lora: Mapping[str, LowRank]
    to_k_ip: Tensor | None = None
    to_v_ip: Tensor | None = None

    @property
    def is_cross(self) -> bool:
        """Whether it is a cross-attention layer."""
        return self.to_k_ip is not None

    @property
    def width(self) -> int:
        """C, the layer's width."""
        return self.lora["to_q"].up.shape[0]


@dataclass(frozen=True)
class SAAShape:
    """What the shapes say: ``layer_widths`` C by index, ``text_width`` of the base, ``token_width``, LoRA ``ranks``."""

    layer_widths: tuple[int, ...]
    text_width: int
    token_width: int
    ranks: tuple[int, ...]


def check_saa(part: NetworkPart, token_width: int | None, where: str) -> SAAShape:
    """Names, shapes and dtypes of all SAA layers, without reading them.

    Args:
        part: The SAA part of a file.
        token_width: The face projector's width, which the identity projections must take; None = do not compare.
        where: Node input that errors name.

    Raises:
        DynamicIDError: Gaps in the numbering, missing or extra tensors, or shapes that do not fit one another.
    """
    layers = _by_layer(part, where)
    widths, ranks, text_widths = [], set(), {}
    for index, layer in enumerate(layers):
        check = _LayerCheck(part, index, layer, where)
        width = check.width()
        widths.append(width)
        context = check.shape("to_k_lora.down.weight")[1] if index % 2 else width
        ranks |= check.low_rank(width, context)
        if index % 2:
            text_widths[context] = index
            token_width = token_width or check.shape("to_k_ip.weight")[1]
            check.expect("to_k_ip.weight", (width, token_width))
            check.expect("to_v_ip.weight", (width, token_width))
    if len(text_widths) > 1:
        raise misfit(part, f" mix text widths {sorted(text_widths)}; all layers must agree", where)
    return SAAShape(tuple(widths), next(iter(text_widths)), token_width or 0, tuple(sorted(ranks)))


def load_saa(part: NetworkPart, token_width: int | None, where: str) -> tuple[SAALayerWeights, ...]:
    """All layers by index, in the file's dtype (float64 becomes float32)."""
    shape = check_saa(part, token_width, where)
    tensors = {k: t.float() if t.dtype == torch.float64 else t for k, t in part.read(where).items()}
    layers = []
    for index in range(len(shape.layer_widths)):
        lora = {
            target: LowRank(tensors[f"{index}.{target}_lora.up.weight"], tensors[f"{index}.{target}_lora.down.weight"])
            for target in LORA_TARGETS
        }
        layers.append(
            SAALayerWeights(lora, tensors.get(f"{index}.to_k_ip.weight"), tensors.get(f"{index}.to_v_ip.weight"))
        )
    return tuple(layers)


def _by_layer(part: NetworkPart, where: str) -> list[dict[str, TensorEntry]]:
    numbered: dict[int, dict[str, TensorEntry]] = {}
    for key, entry in part.entries.items():
        match = SAA_NAME.fullmatch(key)
        if match is None:
            raise misfit(part, f" hold {quoted(part.prefix + key)}; names there start with a layer number", where)
        numbered.setdefault(int(match.group(1)), {})[match.group(2)] = entry
    count = len(numbered)
    gaps = [index for index in range(count) if index not in numbered]
    if gaps or count % 2:
        fault = f"layer {gaps[0]} is missing" if gaps else f"{count} layers are an odd number"
        found = f" are incomplete: {fault}; self- and cross-attention come in pairs, numbered from 0"
        raise misfit(part, found, where)
    missing: list[str] = []
    extra: list[str] = []
    for index in range(count):
        expected = CROSS_ATTENTION_NAMES if index % 2 else SELF_ATTENTION_NAMES
        missing += [f"{part.prefix}{index}.{name}" for name in expected if name not in numbered[index]]
        extra += [f"{part.prefix}{index}.{name}" for name in numbered[index] if name not in expected]
    if missing:
        raise misfit(part, f" lack {counted(missing)}: {listed(missing)}", where)
    if extra:
        raise misfit(part, f" have {counted(extra)} too many: {listed(extra)}", where)
    return [numbered[index] for index in range(count)]


class _LayerCheck:
    """Shape checks of one layer, with errors that name the tensor."""

    def __init__(self, part: NetworkPart, index: int, layer: Mapping[str, TensorEntry], where: str) -> None:
        self.part, self.index, self.layer, self.where = part, index, layer, where
        for name, entry in layer.items():
            check_dtype(part, f"{index}.{name}", entry, where)

    def shape(self, name: str) -> tuple[int, ...]:
        shape = self.layer[name].shape
        if len(shape) != 2 or 0 in shape:
            self._refuse(name, "two dimensions")
        return shape

    def width(self) -> int:
        return self.shape("to_q_lora.up.weight")[0]

    def low_rank(self, width: int, context: int) -> set[int]:
        """Checks the four pairs of a layer of ``width`` whose keys come from ``context`` wide tokens; their ranks."""
        ranks = set()
        for target in LORA_TARGETS:
            rank = self.shape(f"{target}_lora.down.weight")[0]
            self.expect(f"{target}_lora.down.weight", (rank, context if target in ("to_k", "to_v") else width))
            self.expect(f"{target}_lora.up.weight", (width, rank))
            ranks.add(rank)
        return ranks

    def expect(self, name: str, shape: tuple[int, int]) -> None:
        if self.shape(name) != shape:
            self._refuse(name, str(list(shape)))

    def _refuse(self, name: str, expected: str) -> None:
        key, shape = f"{self.part.prefix}{self.index}.{name}", list(self.layer[name].shape)
        raise misfit(self.part, f": '{key}' has the shape {shape}, expected {expected}", self.where)
