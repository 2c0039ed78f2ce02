"""DynamicIDApply's work: a clone of the model with LoRA, identity branch and wrappers put in."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from comfy.patcher_extension import CallbacksMP, WrappersMP, add_wrapper_with_key

from ..attention.options import ApplyOptions
from ..attention.people import people_of
from ..checkpoints.weights import DynamicIDWeights
from ..errors import DynamicIDError
from ..faces.regions import Region, check_people, regions_by_picture
from .attention_patch import CrossAttentionPatch, detach_stacks
from .bases import TransformerBlock, check_weights_fit, transformer_blocks
from .identity_keys_values import byte_count, project_people
from .layer_masks import LayerMaskCache
from .lora import add_lora
from .recorder import ActivationRecord
from .state import Patch, SAASettings, SigmaRange
from .wrappers import ModelCall, ModelInput, NoisePrediction, SamplingRun, SamplingStep

logger = logging.getLogger(__name__)


def apply_dynamicid(
    model: Any, weights: DynamicIDWeights, regions: Sequence[Region], options: ApplyOptions, record: bool = False
) -> tuple[Any, ActivationRecord]:
    """A clone of ``model`` that paints the people of ``regions``; ``model`` itself is left as it is.

    Args:
        model: The host's ModelPatcher of an SD1.5 UNet.
        weights: Loaded DynamicID networks.
        regions: One to eight people.
        options: Strengths and ranges.
        record: Whether activation maps are recorded.

    Returns:
        The patched clone, and the record that its sampling fills.

    Raises:
        DynamicIDError: Unsupported model, weights of another base, too many people, faces of another token width,
            people with different numbers of motions.
    """
    check_people(len(regions), "regions")
    blocks = transformer_blocks(model.model, weights.projector.width)
    check_weights_fit(blocks, weights)
    _check_faces(regions, weights)
    clone = model.clone()
    active = SigmaRange(_to_sigma(clone, options.start_at), _to_sigma(clone, options.end_at))
    add_lora(clone, blocks, weights, options.lora_strength, active)
    activations = ActivationRecord(tuple(r.face.id_tokens.shape[0] for r in regions), enabled=record)
    if options.weight == 0:
        activations.idle = True
    else:
        _add_identity_branch(clone, blocks, _make_patch(clone, weights, regions, options, active, activations))
    return clone, activations


def _check_faces(regions: Sequence[Region], weights: DynamicIDWeights) -> None:
    for number, region in enumerate(regions, start=1):
        width = region.face.id_tokens.shape[1]
        if width != weights.projector.width:
            raise DynamicIDError(
                "regions",
                f"The tokens of person {number} are {width} wide, the weights expect {weights.projector.width}.",
                "Encode the face with these DynamicID weights.",
            )


def _to_sigma(model: Any, share: float) -> float:
    """The noise level at a share of sampling, 0..1."""
    return model.get_model_object("model_sampling").percent_to_sigma(share)


def _make_patch(
    clone: Any,
    weights: DynamicIDWeights,
    regions: Sequence[Region],
    options: ApplyOptions,
    active: SigmaRange,
    activations: ActivationRecord,
) -> Patch:
    pictures = [people_of(people, assigned=options.gate) for people in regions_by_picture(regions)]
    if len(pictures) > 1:
        size = byte_count(weights, pictures) / 1e6
        logger.info("Keys and values of %d motions take %.0f MB in float32.", len(pictures), size)
    return Patch(
        key=f"dynamicid.{uuid.uuid4().hex}",
        keys_values=project_people(weights, pictures),
        masks=LayerMaskCache(pictures[0], options.layout_strength_for(len(regions))),
        settings=SAASettings(
            weight=options.weight,
            gate_threshold=options.gate_threshold if options.gate else None,
            active=active,
            layout_sigma_end=_to_sigma(clone, options.layout_end),
        ),
        record=activations,
    )


def _add_identity_branch(clone: Any, blocks: list[TransformerBlock], patch: Patch) -> None:
    replaced = clone.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
    first_layers: dict[tuple[str, int], int] = {}
    for index, block in enumerate(blocks):
        first_layers.setdefault(block.block, index)
    for (kind, number), first_layer in first_layers.items():
        own = CrossAttentionPatch(patch, first_layer, replaced.get((kind, number)))
        clone.set_model_attn2_replace(own, kind, number)
    wrappers = {
        WrappersMP.OUTER_SAMPLE: SamplingRun(patch),
        WrappersMP.PREDICT_NOISE: NoisePrediction(patch),
        WrappersMP.CALC_COND_BATCH: SamplingStep(patch),
        WrappersMP.APPLY_MODEL: ModelInput(patch),
        WrappersMP.DIFFUSION_MODEL: ModelCall(patch),
    }
    for kind, wrapper in wrappers.items():
        add_wrapper_with_key(kind, patch.key, wrapper, clone.model_options, is_model_options=True)
    clone.add_callback_with_key(CallbacksMP.ON_CLONE, "dynamicid", detach_stacks)
