"""DynamicID's LoRA in the host's weights: merged as the host's own patches, and taken out outside a range of sampling.

The host merges weight patches when it loads a model. A range of sampling changes the patches between two calls of the
model: within a sampling run the model's patcher has the patches that belong to the noise level of the call, each set
under a ``patches_uuid`` of its own, by which the host knows what is merged into the weights. What is sampled inside and
outside the range is thereby what the host samples with and without the LoRA, to the last bit.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comfy import utils
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from comfy.weight_adapter import LoRAAdapter
from torch import Tensor

from ..checkpoints.weights import DynamicIDWeights
from ..errors import DynamicIDError
from .bases import TransformerBlock
from .state import SigmaRange

_ATTACHMENT = "dynamicid_lora_strengths"
_WRAPPER_KEY = "dynamicid.lora"
_RUN = "dynamicid.lora_run"  # in ``transformer_options``: the LoRARun of the sampling run


@dataclass(frozen=True)
class MergedLoRA:
    """The LoRA of one set of weights in a model.

    Args:
        adapters: The host's low-rank patch of each weight, by the weight's name.
        uses: Strength and range of each Apply node.
    """

    adapters: Mapping[str, LoRAAdapter]
    uses: tuple[tuple[float, SigmaRange], ...] = ()

    @property
    def strength(self) -> float:
        """The largest strength, the one that is merged where sampling does not tell a noise level."""
        return max((strength for strength, _ in self.uses), default=0.0)

    def strength_at(self, sigma: Tensor) -> float:
        """The strength at a noise level of shape (1,) on the CPU."""
        return max((strength for strength, active in self.uses if bool(active.contains(sigma))), default=0.0)


def add_lora(
    clone: Any, blocks: Sequence[TransformerBlock], weights: DynamicIDWeights, strength: float, active: SigmaRange
) -> None:
    """Adds the LoRA to a model as the host's own low-rank weight patches, acting in ``active``.

    Two Apply nodes in a row with the same weights merge it once, at the larger of their strengths: merged twice, it
    would leave what the weights were trained with. The same LoRA added to the same patches makes the same
    ``patches_uuid``: the host merges it once for all models that have it.

    Raises:
        DynamicIDError: The model lacks some of the weights to patch.
    """
    if strength <= 0:
        return
    merged: dict[DynamicIDWeights, MergedLoRA] = dict(clone.get_attachment(_ATTACHMENT) or {})
    lora = merged.get(weights) or MergedLoRA(_adapters(blocks, weights))
    missing = strength - lora.strength
    if missing > 0:
        uuid_before = clone.patches_uuid
        taken = clone.add_patches(lora.adapters, missing)
        if len(taken) != len(lora.adapters):
            lost = sorted(set(lora.adapters) - set(taken))
            raise DynamicIDError(
                "model",
                f"{len(lost)} of {len(lora.adapters)} weights to patch do not exist in this model, such as {lost[0]}.",
                "Connect the model as the checkpoint loader gives it, before nodes that compile or rename its layers.",
            )
        clone.patches_uuid = uuid.uuid5(uuid_before, f"{weights.uuid} {missing}")
    merged[weights] = replace(lora, uses=(*lora.uses, (strength, active)))
    clone.set_attachments(_ATTACHMENT, merged)
    wrapped = clone.model_options["transformer_options"].get("wrappers", {}).get(WrappersMP.OUTER_SAMPLE, {})
    if not active.is_whole and _WRAPPER_KEY not in wrapped:
        for kind, wrapper in ((WrappersMP.OUTER_SAMPLE, sampling_run), (WrappersMP.PREDICT_NOISE, noise_prediction)):
            add_wrapper_with_key(kind, _WRAPPER_KEY, wrapper, clone.model_options, is_model_options=True)


def _adapters(blocks: Sequence[TransformerBlock], weights: DynamicIDWeights) -> dict[str, LoRAAdapter]:
    adapters = {}
    for index, block in enumerate(blocks):
        for name, layer in (("attn1", weights.saa_layers[2 * index]), ("attn2", weights.saa_layers[2 * index + 1])):
            for projection, low_rank in layer.lora.items():
                leaf = "to_out.0" if projection == "to_out" else projection
                adapter = LoRAAdapter(set(), (low_rank.up, low_rank.down, None, None, None, None))
                adapters[f"{block.prefix}{name}.{leaf}.weight"] = adapter
    return adapters


def sampling_run(
    executor: Any, noise: Tensor, latent: Tensor, sampler: Any, sigmas: Tensor, *args: Any, **kwargs: Any
) -> Any:
    """OUTER_SAMPLE: the run starts with the patches of its first noise level and ends with those it found."""
    guider = executor.class_obj
    run = LoRARun(guider.model_patcher)
    guider.model_options.setdefault("transformer_options", {})[_RUN] = run
    try:
        run.begin(sigmas)
        return executor(noise, latent, sampler, sigmas, *args, **kwargs)
    finally:
        run.end()


def noise_prediction(executor: Any, x: Tensor, timestep: Tensor, model_options: Any, *args: Any, **kwargs: Any) -> Any:
    """PREDICT_NOISE: before each step of the sampler, the patches of its noise level."""
    run: LoRARun | None = model_options.get("transformer_options", {}).get(_RUN)
    if run is not None:
        run.prepare(timestep, model_options.get("multigpu_clones", {}).values())
    return executor(x, timestep, model_options, *args, **kwargs)


class LoRARun:
    """The weight patches of one sampling run.

    Args:
        patcher: The host's ModelPatcher that is sampled.
    """

    def __init__(self, patcher: Any) -> None:
        self.patcher = patcher
        self.loras: Mapping[DynamicIDWeights, MergedLoRA] = patcher.get_attachment(_ATTACHMENT) or {}
        self.patches, self.patches_uuid = patcher.patches, patcher.patches_uuid
        # Made once for each combination of strengths that the run comes across, in the order of ``loras``.
        self._patches_of: dict[tuple[float, ...], tuple[dict[str, list[Any]], uuid.UUID]] = {}
        # Weights of the patches left before, so that samplers which go back over the edge of the range merge once.
        self._left: dict[tuple[Any, uuid.UUID], dict[str, tuple[Tensor, Any]]] = {}

    def begin(self, sigmas: Tensor) -> None:
        """Sets the patches of the first noise level of ``sigmas``; the host loads the model after this."""
        patches, patches_uuid = self._patches_at(sigmas)
        self._set_patches(self.patcher, patches, patches_uuid)
        loaded = self.patcher.model.current_weight_patches_uuid
        if patches_uuid != loaded == self.patches_uuid and _is_fully_loaded(self.patcher):
            self._load(self.patcher)

    def prepare(self, sigma: Tensor, clones: Sequence[Any]) -> None:
        """Has the weights of a noise level loaded.

        Args:
            sigma: (B,), one noise level for all.
            clones: The host's ModelPatchers of all devices where it uses several, the run's own among them.
        """
        patches, patches_uuid = self._patches_at(sigma)
        for patcher in clones or (self.patcher,):
            self._set_patches(patcher, patches, patches_uuid)
            if patcher.model.current_weight_patches_uuid != patches_uuid:
                self._load(patcher)

    def end(self) -> None:
        """Gives the patcher back its patches. The host loads by ``patches_uuid`` whatever is sampled next."""
        self._set_patches(self.patcher, self.patches, self.patches_uuid)
        self._left.clear()

    @staticmethod
    def _set_patches(patcher: Any, patches: dict[str, list[Any]], patches_uuid: uuid.UUID) -> None:
        patcher.patches, patcher.patches_uuid = patches, patches_uuid

    def _patches_at(self, sigma: Tensor) -> tuple[dict[str, list[Any]], uuid.UUID]:
        """The patches of a noise level, the first of ``sigma``, and their ``patches_uuid``. Waits for the device."""
        level = sigma.flatten()[:1].cpu()
        strengths = tuple(lora.strength_at(level) for lora in self.loras.values())
        if strengths not in self._patches_of:
            self._patches_of[strengths] = self._patches_with(strengths)
        return self._patches_of[strengths]

    def _patches_with(self, strengths: Sequence[float]) -> tuple[dict[str, list[Any]], uuid.UUID]:
        """The patches with each LoRA at its strength, and their ``patches_uuid``."""
        loras = zip(self.loras, strengths, strict=True)
        changed = {weights: strength for weights, strength in loras if strength != self.loras[weights].strength}
        if not changed:
            return self.patches, self.patches_uuid
        patches = dict(self.patches)
        for weights, strength in changed.items():
            for key, adapter in self.loras[weights].adapters.items():
                patches[key] = _with_strength(patches.get(key, []), adapter, strength)
                if not patches[key]:
                    del patches[key]
        return patches, uuid.uuid5(self.patches_uuid, " ".join(f"{w.uuid} {s}" for w, s in changed.items()))

    def _load(self, patcher: Any) -> None:
        """Brings the weights of a loaded model in line with its patches."""
        patcher.clean_hooks()
        if _is_fully_loaded(patcher):
            self._exchange_weights(patcher)
        else:
            # The host keeps as much of the model on the device as before, plus this.
            spare = getattr(patcher.model, "model_offload_buffer_memory", 0) + 1
            patcher.partially_load(patcher.load_device, spare)

    def _exchange_weights(self, patcher: Any) -> None:
        """What the host's ``unpatch_model`` and ``load`` do, for the LoRA's weights alone: the others stay in place."""
        model, backup, device = patcher.model, patcher.backup, patcher.load_device
        keys = [key for lora in self.loras.values() for key in lora.adapters]
        left = {key: (utils.get_attr(model, key).to(patcher.offload_device), backup.get(key)) for key in keys}
        self._left[device, model.current_weight_patches_uuid] = left
        known = self._left.get((device, patcher.patches_uuid), {})
        model.current_weight_patches_uuid = uuid.uuid4()  # if this is interrupted, the host loads the model anew
        for key in keys:
            before = backup.pop(key, None)
            if key in known:
                weight, before = known[key]
                utils.set_attr_param(model, key, weight.to(device))
                if before is not None:
                    backup[key] = before
                continue
            if before is not None:
                utils.set_attr_param(model, key, before.weight.to(device))
            patcher.patch_weight_to_device(key, device_to=device)
        model.current_weight_patches_uuid = patcher.patches_uuid


def _with_strength(patches: Sequence[Any], adapter: LoRAAdapter, strength: float) -> list[Any]:
    """A weight's patches with those of one adapter made a single one of this strength; none for strength 0."""
    first = next((patch for patch in patches if patch[1] is adapter), None)
    kept = [patch for patch in patches if patch[1] is not adapter or (patch is first and strength > 0)]
    return [(strength, *patch[1:]) if patch is first else patch for patch in kept]


def _is_fully_loaded(patcher: Any) -> bool:
    """Whether all weights are merged on the device, none of them as it is used."""
    dynamic = getattr(patcher, "is_dynamic", bool)()
    return not dynamic and not patcher.model.model_lowvram and patcher.model.model_loaded_weight_memory > 0
