"""The demo's three graphs, in ComfyUI's API format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._demo_models import PACK, Models
from ._demo_server import Graph

NEGATIVE_PROMPT = "lowres, blurry, worst quality, deformed"
ONE_PROMPT = "portrait photo of a person in a cafe, natural light, highly detailed"
SEVERAL_PROMPT = "photo of {count} people side by side in a cafe, natural light, highly detailed"
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
GUIDANCE = 5.0
ACTIVATION_SUFFIX = "_activation"
APPLY_DEFAULTS = {
    "weight": 1.0,
    "lora_strength": 1.0,
    "gate": True,
    "gate_threshold": 0.3,
    "layout_strength": -1.0,
    "layout_end": 0.24,
    "start_at": 0.0,
    "end_at": 1.0,
}
Link = list[Any]


@dataclass(frozen=True)
class Settings:
    """How pictures are sampled; `prompt` and `expression` in words, `size` in pixels."""

    prompt: str | None
    expression: str
    size: int
    steps: int
    seed: int


class _Builder:
    """Collects nodes; each method adds some and returns links."""

    def __init__(self, models: Models, settings: Settings) -> None:
        self.graph: Graph = {}
        self.models = models
        self.settings = settings
        checkpoint = self.add("CheckpointLoaderSimple", "Load Checkpoint", ckpt_name=models.checkpoint)
        self.model, self.clip, self.vae = ([checkpoint[0], number] for number in range(3))
        self.dynamicid = self.add("DynamicIDLoader", "Load DynamicID", saa=models.saa, imr=models.imr)
        self.finder = self.add("DynamicIDFaceAnalysisLoader", "Load Face Analysis", pack=PACK, provider="auto")
        self.vision = self.add("CLIPVisionLoader", "Load CLIP Vision", clip_name=models.clip_vision)

    def add(self, class_type: str, title: str, **inputs: Any) -> Link:
        """A node; the link to its first output."""
        node = str(len(self.graph) + 1)
        self.graph[node] = {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}
        return [node, 0]

    def face(self, photo: str, index: int) -> Link:
        """The person with this index, by size, in a photo of the input folder."""
        image = self.add("LoadImage", f"Load Image ({photo})", image=photo)
        return self.add(
            "DynamicIDEncodeFace",
            f"Encode Face ({photo})",
            dynamicid=self.dynamicid,
            face_analysis=self.finder,
            clip_vision=self.vision,
            image=image,
            pick="largest",
            index=index,
            crop="auto",
        )

    def pictures(self, name: str, prompt: str, people: Mapping[str, Link]) -> Graph:
        """Samples with `people` (Apply's `face` or `regions`); saves the picture and its activation map."""
        settings = self.settings
        applied = self.add(
            "DynamicIDApply",
            "Apply DynamicID",
            model=self.model,
            dynamicid=self.dynamicid,
            **people,
            **APPLY_DEFAULTS,
        )
        texts = [self.add("CLIPTextEncode", "Prompt", clip=self.clip, text=text) for text in (prompt, NEGATIVE_PROMPT)]
        latent = self.add("EmptyLatentImage", "Size", width=settings.size, height=settings.size, batch_size=1)
        samples = self.add(
            "KSampler",
            "KSampler",
            model=applied,
            positive=texts[0],
            negative=texts[1],
            latent_image=latent,
            seed=settings.seed,
            steps=settings.steps,
            cfg=GUIDANCE,
            sampler_name="ddim",
            scheduler="ddim_uniform",
            denoise=1.0,
        )
        picture = self.add("VAEDecode", "VAE Decode", samples=samples, vae=self.vae)
        self.add("SaveImage", "Save Image", images=picture, filename_prefix=name)
        heat = self.add(
            "DynamicIDActivationPreview",
            "Activation Preview",
            activation=[applied[0], 1],
            image=picture,
            step=-1,
            # Of several people the first one's map, which shows the box at work; 0 is everybody.
            person=1 if "regions" in people else 0,
        )
        self.add("SaveImage", "Save Activation", images=heat, filename_prefix=name + ACTIVATION_SUFFIX)
        return self.graph


def make_graphs(models: Models, settings: Settings, people: Sequence[tuple[str, int]]) -> dict[str, Graph]:
    """The graphs by the name of the picture they make.

    Args:
        models: What the loaders load.
        settings: How pictures are sampled.
        people: Photo in the input folder and index of the face in it, by size; the first one is painted alone.
    """
    return {
        "one_person": _one_person(models, settings, people[0], None),
        "one_person_edited": _one_person(models, settings, people[0], settings.expression),
        **({f"{COUNTS[len(people)]}_people": _several(models, settings, people)} if len(people) > 1 else {}),
    }


def _one_person(models: Models, settings: Settings, person: tuple[str, int], expression: str | None) -> Graph:
    builder = _Builder(models, settings)
    face = builder.face(*person)
    if expression is not None:
        face = builder.add(
            "DynamicIDEditFace",
            "Edit Face",
            dynamicid=builder.dynamicid,
            face=face,
            clip=builder.clip,
            target_prompt=expression,
            source_prompt="",
            strength=1.0,
        )
    name = "one_person" if expression is None else "one_person_edited"
    return builder.pictures(name, settings.prompt or ONE_PROMPT, {"face": face})


def _several(models: Models, settings: Settings, people: Sequence[tuple[str, int]]) -> Graph:
    builder = _Builder(models, settings)
    regions: dict[str, Link] = {}
    for number, person in enumerate(people):
        regions["regions"] = builder.add(
            "DynamicIDRegion",
            f"Region {number + 1}",
            face=builder.face(*person),
            x=round(number / len(people), 4),
            y=0.0,
            width=round(1 / len(people), 4),
            height=1.0,
            **regions,
        )
    count = COUNTS[len(people)]
    return builder.pictures(f"{count}_people", settings.prompt or SEVERAL_PROMPT.format(count=count), regions)
