"""Which base models are supported, and where their cross-attentions sit. Nothing here assumes SD1.5's sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..checkpoints.bases import LDM_STAGES, SUPPORTED_BASES, walk_transformer_blocks
from ..checkpoints.saa import SAALayerWeights
from ..checkpoints.weights import DynamicIDWeights
from ..errors import DynamicIDError

_KNOWN_TEXT_WIDTHS = {1024: "Stable Diffusion 2", 1280: "the SDXL refiner", 2048: "SDXL"}
_STAGE_KEYS = dict(zip(LDM_STAGES, ("input", "output", "middle"), strict=True))


@dataclass(frozen=True)
class TransformerBlock:
    """One transformer block of the UNet.

    Args:
        block: The host's key, such as ("input", 1) or ("middle", 0).
        prefix: Weight name up to and with the block: "diffusion_model.input_blocks.1.1.transformer_blocks.0.".
        module: The host's BasicTransformerBlock.
    """

    block: tuple[str, int]
    prefix: str
    module: Any


def transformer_blocks(base_model: Any, text_width: int) -> list[TransformerBlock]:
    """The transformer blocks of a model that the loaded weights can drive, in the order of the weights.

    Args:
        base_model: The host's ``ModelPatcher.model``.
        text_width: Width of the identity tokens, which is that of the text states of the weights' base model.

    Raises:
        DynamicIDError: The model is of a family these weights cannot drive (SDXL, FLUX, SD2 ...).
    """
    supported = " or ".join(base.name for base in SUPPORTED_BASES)
    remedy = f"Load a checkpoint of {supported}."
    blocks = [_block(path, module) for path, module in walk_transformer_blocks(base_model.diffusion_model, LDM_STAGES)]
    if not blocks or any(getattr(block.module, "attn2", None) is None for block in blocks):
        kind = type(base_model).__name__
        raise DynamicIDError("model", f"This model ({kind}) has no UNet with cross-attention to text.", remedy)
    width = blocks[0].module.attn2.to_k.weight.shape[1]
    if width != text_width and width in _KNOWN_TEXT_WIDTHS:
        family = _KNOWN_TEXT_WIDTHS[width]
        raise DynamicIDError("model", f"This is {family}; there are no DynamicID weights for it.", remedy)
    if width != text_width:
        raise DynamicIDError(
            "model",
            f"Its text states are {width} wide, the loaded DynamicID weights expect {text_width}.",
            "Load the base model that these weights were trained for.",
        )
    return blocks


def _block(path: str, module: Any) -> TransformerBlock:
    stage, number, *_ = path.split(".")
    key = (_STAGE_KEYS[stage], 0 if stage == LDM_STAGES[-1] else int(number))
    return TransformerBlock(key, f"diffusion_model.{path}.", module)


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
        _check_layer(layers[2 * index], block.module.attn1, weights.source)
        _check_layer(layers[2 * index + 1], block.module.attn2, weights.source)


def _check_layer(layer: SAALayerWeights, attention: Any, source: str) -> None:
    modules = {"to_q": attention.to_q, "to_k": attention.to_k, "to_v": attention.to_v, "to_out": attention.to_out[0]}
    for name, module in modules.items():
        low_rank = layer.lora[name]
        shape, expected = (low_rank.up.shape[0], low_rank.down.shape[1]), tuple(module.weight.shape)
        if shape != expected:
            raise DynamicIDError(
                "dynamicid",
                f"{source}: a {name} layer is {shape[0]} x {shape[1]}, the model's is {expected[0]} x {expected[1]}.",
                "Load the DynamicID weights that belong to this base model.",
            )
