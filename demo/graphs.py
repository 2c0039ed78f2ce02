"""The demo's graphs, in ComfyUI's API format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dynamicid.faces.motion_sliders import RANGES

from .models import Models
from .server import Graph
from .shots import Shot

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
    """How pictures are sampled.

    Args:
        size: Of the pictures in pixels, as Empty Latent Image counts them: 8 a latent cell.
        steps: DDIM steps.
        guidance: Classifier-free guidance scale.
        layout_strength: Of Apply.
        alone_steps: First steps, which the base model paints alone: it lays the picture out.
        negative: Negative prompt.
        seed: Of the noise.
    """

    size: int
    steps: int
    guidance: float
    layout_strength: float = -1.0
    alone_steps: int = 0
    negative: str = ""
    seed: int = 0


class _Builder:
    """Collects nodes; each method adds some and returns links."""

    def __init__(self, models: Models, settings: Settings, people: Sequence[tuple[str, int]]) -> None:
        self.graph: Graph = {}
        self.settings, self.people = settings, people
        self._faces: dict[int, Link] = {}
        if models.checkpoint is None:
            base = self.add("DrawnFamilyLoader", "Load Drawn Family")
            self.vision: Link = [base[0], 3]
        else:
            base = self.add("CheckpointLoaderSimple", "Load Checkpoint", ckpt_name=models.checkpoint)
            self.vision = self.add("CLIPVisionLoader", "Load CLIP Vision", clip_name=models.clip_vision)
        self.model, self.clip, self.vae = ([base[0], number] for number in range(3))
        self.dynamicid = self.add("DynamicIDLoader", "Load DynamicID", saa=models.saa, imr=models.imr)
        self.finder = self.add(
            "DynamicIDFaceAnalysisLoader", "Load Face Analysis", pack=models.face_pack.name, provider="auto"
        )
        self.negative = self.add("CLIPTextEncode", "Negative Prompt", clip=self.clip, text=settings.negative)
        self.latent = self.add("EmptyLatentImage", "Size", width=settings.size, height=settings.size, batch_size=1)

    def add(self, class_type: str, title: str, **inputs: Any) -> Link:
        """A node; the link to its first output."""
        node = str(len(self.graph) + 1)
        self.graph[node] = {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}
        return [node, 0]

    def face(self, person: int) -> Link:
        """A person as the photo shows them: one node however often they are painted."""
        if person not in self._faces:
            photo, index = self.people[person]
            image = self.add("LoadImage", f"Load Image ({photo})", image=photo)
            self._faces[person] = self.add(
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
        return self._faces[person]

    def shoot(self, shot: Shot) -> None:
        """Samples one picture and saves it with its activation maps."""
        settings = self.settings
        applied = self.add(
            "DynamicIDApply",
            f"Apply DynamicID ({shot.name})",
            model=self.model,
            dynamicid=self.dynamicid,
            **self._who(shot),
            **{**APPLY_DEFAULTS, "layout_strength": settings.layout_strength},
        )
        samples = self._sample(shot, applied)
        picture = self.add("VAEDecode", "VAE Decode", samples=samples, vae=self.vae)
        self.add("SaveImage", "Save Image", images=picture, filename_prefix=shot.name)
        for person, name in enumerate(shot.activations(), 1):
            heat = self.add(
                "DynamicIDActivationPreview",
                "Activation Preview",
                activation=[applied[0], 1],
                image=picture,
                step=-1,
                person=person,
            )
            self.add("SaveImage", "Save Activation", images=heat, filename_prefix=name)

    def _sample(self, shot: Shot, applied: Link) -> Link:
        """One sampler, or one for the base model alone and one for the rest."""
        settings = self.settings
        common: dict[str, Any] = {
            "positive": self.add("CLIPTextEncode", f"Prompt ({shot.name})", clip=self.clip, text=shot.prompt),
            "negative": self.negative,
            "steps": settings.steps,
            "cfg": settings.guidance,
            "sampler_name": "ddim",
            "scheduler": "ddim_uniform",
        }
        if not settings.alone_steps:
            title = f"KSampler ({shot.name})"
            return self.add(
                "KSampler", title, model=applied, latent_image=self.latent, seed=settings.seed, denoise=1.0, **common
            )
        common["noise_seed"] = settings.seed
        laid_out = self.add(
            "KSamplerAdvanced", f"Layout by the base model ({shot.name})",
            model=self.model, latent_image=self.latent, add_noise="enable", start_at_step=0,
            end_at_step=settings.alone_steps, return_with_leftover_noise="enable", **common,
        )  # fmt: skip
        return self.add(
            "KSamplerAdvanced", f"KSampler ({shot.name})",
            model=applied, latent_image=laid_out, add_noise="disable", start_at_step=settings.alone_steps,
            end_at_step=settings.steps, return_with_leftover_noise="disable", **common,
        )  # fmt: skip

    def _who(self, shot: Shot) -> dict[str, Link]:
        """Apply's ``face`` or ``regions``."""
        if not shot.boxes:
            return {"face": self._moved(shot)}
        regions: dict[str, Link] = {}
        for number, (person, box) in enumerate(zip(shot.people, shot.boxes, strict=True), 1):
            place = dict(zip(("x", "y", "width", "height"), box, strict=True))
            link = self.add("DynamicIDRegion", f"Region {number}", face=self.face(person), **place, **regions)
            regions = {"regions": link}
        return regions

    def _moved(self, shot: Shot) -> Link:
        face, move = self.face(shot.people[0]), shot.move
        if move is None:
            return face
        motion = self.add(
            "DynamicIDMotionSliders", f"Motion Sliders ({shot.name})", face=face, neutralise=True,
            **{**dict.fromkeys(RANGES, 0.0), **move.sliders},
        )  # fmt: skip
        return self.add(
            "DynamicIDEditFace",
            f"Edit Face ({shot.name})",
            dynamicid=self.dynamicid,
            face=face,
            clip=self.clip,
            motion=motion,
            target_prompt=move.prompt,
            source_prompt="",
            strength=1.0,
        )


def make_graph(models: Models, settings: Settings, people: Sequence[tuple[str, int]], shots: Sequence[Shot]) -> Graph:
    """One graph for all shots.

    Args:
        models: What the loaders load.
        settings: How pictures are sampled.
        people: Photo in the input folder and index of the face in it, by size.
        shots: Pictures to paint.
    """
    builder = _Builder(models, settings, people)
    for shot in shots:
        builder.shoot(shot)
    return builder.graph
