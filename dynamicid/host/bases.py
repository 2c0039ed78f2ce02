"""Which base models are supported, and where their cross-attentions sit. Nothing here assumes SD1.5's sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..checkpoints.bases import SUPPORTED_BASES
from ..checkpoints.weights import DynamicIDWeights, SAALayerWeights
from ..errors import DynamicIDError

_KNOWN_TEXT_WIDTHS = {1024: "Stable Diffusion 2", 1280: "the SDXL refiner", 2048: "SDXL"}


@dataclass(frozen=True)
class TransformerBlock:
    """One transformer block of the UNet.

    Args:
        block: The host's key, such as ("input", 1) or ("middle", 0).
        depth: Position inside its spatial transformer.
        prefix: Weight name up to and with the block: "diffusion_model.input_blocks.1.1.transformer_blocks.0.".
        module: The host's BasicTransformerBlock.
    """

    block: tuple[str, int]
    depth: int
    prefix: str
    module: Any


def walk_transformer_blocks(unet: Any) -> Iterator[TransformerBlock]:
    """All transformer blocks in the order of the published weights: input blocks, output blocks, middle block."""
    groups = [("input", f"input_blocks.{i}", layers) for i, layers in enumerate(unet.input_blocks)]
    groups += [("output", f"output_blocks.{i}", layers) for i, layers in enumerate(unet.output_blocks)]
    groups += [("middle", "middle_block", unet.middle_block)] if unet.middle_block is not None else []
    for kind, path, layers in groups:
        number = int(path.rsplit(".", 1)[1]) if "." in path else 0
        for position, layer in enumerate(layers):
            for depth, module in enumerate(getattr(layer, "transformer_blocks", ())):
                prefix = f"diffusion_model.{path}.{position}.transformer_blocks.{depth}."
                yield TransformerBlock((kind, number), depth, prefix, module)


def _supported_names() -> str:
    return ", ".join(base.name for base in SUPPORTED_BASES)


def transformer_blocks(base_model: Any, text_width: int) -> list[TransformerBlock]:
    """The transformer blocks of a model that the loaded weights can drive.

    Args:
        base_model: The host's ``ModelPatcher.model``.
        text_width: Width of the identity tokens, which is that of the text states of the weights' base model.

    Raises:
        DynamicIDError: The model is of a family these weights cannot drive (SDXL, FLUX, SD2 ...).
    """
    unet = base_model.diffusion_model
    blocks = list(walk_transformer_blocks(unet)) if hasattr(unet, "input_blocks") else []
    if not blocks or any(getattr(block.module, "attn2", None) is None for block in blocks):
        raise DynamicIDError(
            "model",
            f"This is a {type(base_model).__name__} model, which has no UNet with cross-attention to text.",
            f"Load a {_supported_names()} checkpoint.",
        )
    width = blocks[0].module.attn2.to_k.weight.shape[1]
    if width in _KNOWN_TEXT_WIDTHS and width != text_width:
        raise DynamicIDError(
            "model",
            f"This is {_KNOWN_TEXT_WIDTHS[width]}; there are no DynamicID weights for it.",
            f"Load a {_supported_names()} checkpoint.",
        )
    if width != text_width:
        raise DynamicIDError(
            "model",
            f"Its text states are {width} wide, the loaded DynamicID weights expect {text_width}.",
            "Load the base model that these weights were trained for.",
        )
    return blocks


def check_weights_fit(blocks: list[TransformerBlock], weights: DynamicIDWeights) -> None:
    """Every attention layer of the model has its SAA layer, of the same widths.

    Raises:
        DynamicIDError: The weights were trained for another model.
    """
    layers = weights.saa_layers
    if len(layers) != 2 * len(blocks):
        raise DynamicIDError(
            "dynamicid",
            f"{weights.source} has {len(layers)} attention layers, the model at `model` has {2 * len(blocks)}.",
            "Load the DynamicID weights that belong to this base model.",
        )
    for index, block in enumerate(blocks):
        for layer, attention in ((layers[2 * index], block.module.attn1), (layers[2 * index + 1], block.module.attn2)):
            _check_layer(layer, attention, weights.source)


def _check_layer(layer: SAALayerWeights, attention: Any, source: str) -> None:
    modules = {"to_q": attention.to_q, "to_k": attention.to_k, "to_v": attention.to_v, "to_out": attention.to_out[0]}
    for name, module in modules.items():
        low_rank = layer.lora[name]
        found = (low_rank.up.shape[0], low_rank.down.shape[1])
        if found != tuple(module.weight.shape):
            raise DynamicIDError(
                "dynamicid",
                f"{source}: a {name} layer is {found[0]} x {found[1]}, the model's is {tuple(module.weight.shape)}.",
                "Load the DynamicID weights that belong to this base model.",
            )
