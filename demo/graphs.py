"""The demo's graphs, in ComfyUI's API format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from dynamicid.attention.options import DEFAULTS

from .models import Models
from .pictures import PictureSpec
from .server import Graph

APPLY_DEFAULTS = asdict(DEFAULTS)
Link = list[Any]


@dataclass(frozen=True)
class SamplingSettings:
    """How pictures are sampled.

    Args:
        size: Of the pictures in pixels, as Empty Latent Image counts them: 8 a latent cell.
        steps: DDIM steps.
        guidance: Classifier-free guidance scale.
        layout_strength: Of Apply.
        start_at: Of Apply: before this share of sampling the base model alone decides the layout.
        negative: Negative prompt.
        seed: Of the noise.
        crop_size: Of the crops in which people of a group are repainted, in pixels.
        repaint: Share of noise from which they are.
    """

    size: int
    steps: int
    guidance: float
    layout_strength: float = DEFAULTS.layout_strength
    start_at: float = DEFAULTS.start_at
    negative: str = ""
    seed: int = 0
    crop_size: int = 512
    repaint: float = 0.6

    @property
    def repaint_steps(self) -> int:
        """DDIM steps of the crops."""
        return max(1, round(self.steps * self.repaint))


class _GraphBuilder:
    """Collects nodes; each method adds some and returns links."""

    def __init__(self, models: Models, settings: SamplingSettings, people: Sequence[tuple[str, int]]) -> None:
        self.graph: Graph = {}
        self.settings, self.people = settings, people
        self._faces: dict[int, Link] = {}
        if models.checkpoint is None:
            base = self.add("DrawnFamilyLoader", "Load Tiny Models")
            self.vision: Link = [base[0], 3]
        else:
            base = self.add("CheckpointLoaderSimple", "Load Checkpoint", ckpt_name=models.checkpoint)
            self.vision = self.add("CLIPVisionLoader", "Load CLIP Vision", clip_name=models.clip_vision)
        self.model, self.clip, self.vae = ([base[0], number] for number in range(3))
        self.dynamicid = self.add("DynamicIDLoader", "Load DynamicID", saa=models.saa, imr=models.imr)
        self.face_analysis = self.add(
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
        """The encoded face of a person; one node however often they are painted."""
        if person not in self._faces:
            photo, index = self.people[person]
            image = self.add("LoadImage", f"Load Image ({photo})", image=photo)
            self._faces[person] = self.add(
                "DynamicIDEncodeFace",
                f"Encode Face ({photo})",
                dynamicid=self.dynamicid,
                face_analysis=self.face_analysis,
                clip_vision=self.vision,
                image=image,
                pick="largest",
                index=index,
                crop="auto",
            )
        return self._faces[person]

    def add_picture(self, spec: PictureSpec) -> None:
        """Samples one picture and saves it with its activation maps."""
        settings = self.settings
        people = self._people_inputs(spec)
        patched = self._apply(spec.name, **people)
        picture = self._sample(spec.name, patched, spec.prompt, self.latent, settings.steps, 1.0)
        self.add("SaveImage", "Save Image", images=picture, filename_prefix=spec.name)
        for person, name in enumerate(spec.activation_names(), 1):
            heat = self.add(
                "DynamicIDActivationPreview",
                "Activation Preview",
                activation=[patched[0], 1],
                image=picture,
                step=-1,
                person=person,
            )
            self.add("SaveImage", "Save Activation", images=heat, filename_prefix=name)
        if spec.repainted_name:
            repainted = self._repaint(spec, picture, people["regions"])
            self.add("SaveImage", "Save Repainted", images=repainted, filename_prefix=spec.repainted_name)

    def add_row(self, view: str, specs: Sequence[PictureSpec]) -> None:
        """Samples pictures of one person that differ in the expression only, as one batch, and saves each."""
        settings, (first, *_) = self.settings, specs
        face = self.face(first.people[0])
        motions = self.add(
            "DynamicIDMotionPresets", f"Motion Presets ({view})",
            face=face, expressions=", ".join(spec.motion.expression for spec in specs if spec.motion), views=view,
            strength=1.0,
        )  # fmt: skip
        edited = self.add(
            "DynamicIDEditFace", f"Edit Face ({view})",
            dynamicid=self.dynamicid, face=face, clip=self.clip, motion=motions, target_prompt="", source_prompt="",
            strength=1.0,
        )  # fmt: skip
        size = self.add(
            "EmptyLatentImage", f"Size ({view})", width=settings.size, height=settings.size, batch_size=len(specs)
        )
        latent = self.add("LatentBatchSeedBehavior", "The Same Noise for All", samples=size, seed_behavior="fixed")
        patched = self._apply(view, face=edited)
        pictures = self._sample(view, patched, first.prompt, latent, settings.steps, 1.0)
        for number, spec in enumerate(specs):
            picture = self.add("ImageFromBatch", f"Picture ({spec.name})", image=pictures, batch_index=number, length=1)
            self.add("SaveImage", "Save Image", images=picture, filename_prefix=spec.name)

    def _apply(self, title: str, **people: Link) -> Link:
        settings = self.settings
        return self.add(
            "DynamicIDApply",
            f"Apply DynamicID ({title})",
            model=self.model,
            dynamicid=self.dynamicid,
            **people,
            **{**APPLY_DEFAULTS, "layout_strength": settings.layout_strength, "start_at": settings.start_at},
        )

    def _sample(self, title: str, model: Link, text: str | Link, latent: Link, steps: int, denoise: float) -> Link:
        """The decoded picture of one sampler."""
        samples = self.add(
            "KSampler",
            f"KSampler ({title})",
            model=model,
            positive=self.add("CLIPTextEncode", f"Prompt ({title})", clip=self.clip, text=text),
            negative=self.negative,
            latent_image=latent,
            seed=self.settings.seed,
            steps=steps,
            cfg=self.settings.guidance,
            sampler_name="ddim",
            scheduler="ddim_uniform",
            denoise=denoise,
        )
        return self.add("VAEDecode", "VAE Decode", samples=samples, vae=self.vae)

    def _repaint(self, spec: PictureSpec, picture: Link, regions: Link) -> Link:
        """The picture with every face repainted by itself."""
        settings, name = self.settings, spec.repainted_name or ""
        crops, *_ = crop = self.add(
            "DynamicIDCropPeople", f"Crop People ({spec.name})",
            face_analysis=self.face_analysis, image=picture, regions=regions, match="place", size=settings.crop_size,
            grow=1.0, prompt=spec.portraits,
        )  # fmt: skip
        patched = self.add(
            "DynamicIDApply", f"Apply DynamicID ({name})",
            model=self.model, dynamicid=self.dynamicid, face=[crops, 1], **APPLY_DEFAULTS,
        )  # fmt: skip
        encoded = self.add("VAEEncode", "VAE Encode", pixels=crop, vae=self.vae)
        latent = self.add("SetLatentNoiseMask", "Set Latent Noise Mask", samples=encoded, mask=[crops, 3])
        decoded = self._sample(name, patched, [crops, 2], latent, settings.repaint_steps, settings.repaint)
        return self.add(
            "DynamicIDPastePeople", f"Paste People ({spec.name})",
            image=decoded, crops=[crops, 4], feather=0.15, match_colour=True,
        )  # fmt: skip

    def _people_inputs(self, spec: PictureSpec) -> dict[str, Link]:
        """Apply's ``face`` or ``regions``."""
        if not spec.boxes:
            return {"face": self.face(spec.people[0])}
        regions: dict[str, Link] = {}
        for number, (person, box) in enumerate(zip(spec.people, spec.boxes, strict=True), 1):
            place = dict(zip(("x", "y", "width", "height"), box, strict=True))
            link = self.add("DynamicIDRegion", f"Region {number}", face=self.face(person), **place, **regions)
            regions = {"regions": link}
        return regions


def make_graph(
    models: Models, settings: SamplingSettings, people: Sequence[tuple[str, int]], specs: Sequence[PictureSpec]
) -> Graph:
    """One graph for all pictures; those with target motions in the same view are one batch of one sampler.

    Args:
        models: What the loaders load.
        settings: How pictures are sampled.
        people: Photo in the input folder and index of the face in it, by size.
        specs: Pictures to paint.
    """
    builder = _GraphBuilder(models, settings, people)
    for view, row in groupby(specs, key=lambda spec: spec.motion and spec.motion.view):
        if view is not None:
            builder.add_row(view, list(row))
        else:
            for spec in row:
                builder.add_picture(spec)
    return builder.graph
