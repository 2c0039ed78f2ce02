"""DynamicIDApply's work: a clone of the model with LoRA, identity branch and wrappers put in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from comfy.patcher_extension import CallbacksMP, WrappersMP, add_wrapper_with_key
from comfy.weight_adapter import LoRAAdapter

from ..attention.options import ApplyOptions
from ..attention.people import people_of
from ..checkpoints.weights import DynamicIDWeights
from ..errors import DynamicIDError
from ..faces.regions import Region, check_people
from .attention_patch import CrossAttentionPatch, detach_stacks
from .bases import TransformerBlock, check_weights_fit, transformer_blocks
from .identity_keys_values import project_people
from .layer_masks import LayerMaskCache
from .recorder import ActivationRecord
from .state import Patch, SAASettings
from .wrappers import ModelCall, ModelInput, NoisePrediction, SamplingRun, SamplingStep

_LORA_ATTACHMENT = "dynamicid_lora_strengths"


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
        DynamicIDError: Unsupported model, weights of another base, too many people, faces of another token width.
    """
    check_people(len(regions), "regions")
    blocks = transformer_blocks(model.model, weights.projector.width)
    check_weights_fit(blocks, weights)
    _check_faces(regions, weights)
    clone = model.clone()
    _merge_lora(clone, blocks, weights, options.lora_strength)
    activations = ActivationRecord(tuple(r.face.id_tokens.shape[0] for r in regions), enabled=record)
    if options.weight == 0:
        activations.idle = True
    else:
        _add_identity_branch(clone, blocks, _make_patch(clone, weights, regions, options, activations))
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


def _merge_lora(clone: Any, blocks: list[TransformerBlock], weights: DynamicIDWeights, strength: float) -> None:
    """Adds the LoRA as the host's own low-rank weight patches.

    Two Apply nodes in a row with the same weights merge it once, at the larger of their strengths: merged twice, it
    would leave what the weights were trained with.
    """
    merged = dict(clone.get_attachment(_LORA_ATTACHMENT) or {})
    missing = strength - merged.get(weights, 0.0)
    if missing <= 0:
        return
    patches = {}
    for index, block in enumerate(blocks):
        for name, layer in (("attn1", weights.saa_layers[2 * index]), ("attn2", weights.saa_layers[2 * index + 1])):
            for projection, low_rank in layer.lora.items():
                leaf = "to_out.0" if projection == "to_out" else projection
                adapter = LoRAAdapter(set(), (low_rank.up, low_rank.down, None, None, None, None))
                patches[f"{block.prefix}{name}.{leaf}.weight"] = adapter
    taken = clone.add_patches(patches, missing)
    if len(taken) != len(patches):
        lost = sorted(set(patches) - set(taken))
        raise DynamicIDError(
            "model",
            f"{len(lost)} of {len(patches)} weights to patch do not exist in this model, such as {lost[0]}.",
            "Connect the model as the checkpoint loader gives it, before nodes that compile or rename its layers.",
        )
    clone.set_attachments(_LORA_ATTACHMENT, {**merged, weights: strength})


def _make_patch(
    clone: Any,
    weights: DynamicIDWeights,
    regions: Sequence[Region],
    options: ApplyOptions,
    activations: ActivationRecord,
) -> Patch:
    to_sigma = clone.get_model_object("model_sampling").percent_to_sigma
    people = people_of(regions, assigned=options.gate)
    return Patch(
        key=f"dynamicid.{uuid.uuid4().hex}",
        keys_values=project_people(weights, people),
        masks=LayerMaskCache(people, options.layout_strength_for(len(regions))),
        settings=SAASettings(
            weight=options.weight,
            gate_threshold=options.gate_threshold if options.gate else None,
            sigma_start=to_sigma(options.start_at),
            sigma_end=to_sigma(options.end_at),
            layout_sigma_end=to_sigma(options.layout_end),
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
