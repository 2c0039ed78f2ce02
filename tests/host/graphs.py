"""API graphs for tests, built node by node: ``graph = Graph(); model, clip, vae = graph.checkpoint()``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from demo.graphs import APPLY_DEFAULTS
from dynamicid.faces.motion_sliders import RANGES
from tests.standin.onnx_pack import draw_test_faces
from tests.standin.rule import rule_input

Link = list[Any]
Box = tuple[float, float, float, float]

CHECKPOINT = "small.safetensors"
CLIP_VISION = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
SIDE = 64
NO_BOX: Box = (0.0, 0.0, 0.0, 0.0)
PEOPLE = ("anna", "ben", "cleo", "dora", "emil", "finn", "gita", "hugo")


def write_photos(folder: Path) -> None:
    """One portrait for each of ``PEOPLE``, "two.png" and "three.png" with several faces, "nobody.png" with none."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(PEOPLE):
        tone = (240 - 16 * number, 196 - 15 * number, 170 - 14 * number)
        box = (90 + 4 * number, 60, 228 + 4 * number, 242)
        _save(draw_test_faces((320, 320), [box], tones=[tone]), folder / f"{name}.png")
    _save(draw_test_faces((256, 384), [(50, 50, 150, 182), (220, 60, 304, 170)]), folder / "two.png")
    three = [(30, 60, 106, 160), (150, 50, 250, 182), (290, 80, 350, 159)]
    _save(draw_test_faces((256, 384), three), folder / "three.png")
    _save(draw_test_faces((128, 128), []), folder / "nobody.png")


def write_faces(folder: Path) -> None:
    """A face file by rule for each of ``PEOPLE``, so that a graph needs no photo and no ViT-H."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PEOPLE:
        embedding = rule_input(f"face.{name}.id_embedding", (512,))
        tensors = {
            "id_tokens": rule_input(f"face.{name}.id_tokens", (4, 768)),
            "negative_tokens": rule_input(f"face.{name}.negative_tokens", (4, 768)),
            "id_embedding": embedding / embedding.norm(),
            "landmarks_106": rule_input(f"face.{name}.landmarks", (106, 2)) * 60 + 256,
            "pose": torch.tensor([0.0, 5.0, 0.0]),
        }
        save_file(tensors, folder / f"{name}.safetensors", metadata={"format": "dynamicid-face", "version": "1"})


def write_inputs(base: Path) -> None:
    """Photos and faces of ``PEOPLE`` for the server that runs on ``base``."""
    write_photos(base / "input")
    write_faces(base / "input" / "dynamicid" / "faces")


def _save(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path)


def pixels(path: Path) -> np.ndarray:
    """A written picture, (height, width, 3) uint8."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


class Graph(dict[str, dict[str, Any]]):
    """An API graph. Node ids are the class type, then with _2, _3: the same in every graph built in the same order."""

    def add(self, class_type: str, **inputs: Any) -> Link:
        """A node; inputs that are None are left out. Returns the link to its first output."""
        count = sum(node["class_type"] == class_type for node in self.values()) + 1
        key = class_type if count == 1 else f"{class_type}_{count}"
        self[key] = {"class_type": class_type, "inputs": {k: v for k, v in inputs.items() if v is not None}}
        return [key, 0]

    @staticmethod
    def output(link: Link, number: int) -> Link:
        """Another output of the same node."""
        return [link[0], number]

    def once(self, class_type: str, **inputs: Any) -> Link:
        """The node ``class_type`` with these very inputs; made where it is not there yet."""
        for key, node in self.items():
            if node["class_type"] == class_type and node["inputs"] == inputs:
                return [key, 0]
        return self.add(class_type, **inputs)

    # Sources ----------------------------------------------------------------------------------------------------

    def checkpoint(self) -> tuple[Link, Link, Link]:
        """Model, CLIP and VAE."""
        loader = self.once("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
        return loader, self.output(loader, 1), self.output(loader, 2)

    def networks(self, saa: str = "SAA.bin", imr: str = "none") -> Link:
        """DYNAMICID."""
        return self.once("DynamicIDLoader", saa=saa, imr=imr)

    def finder(self, provider: str = "auto", pack: str = "buffalo_l") -> Link:
        """FACE_ANALYSIS."""
        return self.once("DynamicIDFaceAnalysisLoader", pack=pack, provider=provider)

    def vision(self, name: str = CLIP_VISION) -> Link:
        """CLIP_VISION."""
        return self.once("CLIPVisionLoader", clip_name=name)

    def photo(self, name: str) -> Link:
        """IMAGE: ``name`` of the input folder."""
        return self.once("LoadImage", image=name)

    # Faces ------------------------------------------------------------------------------------------------------

    def encoded(self, image: Link | str, crop: str = "auto", **changed: Any) -> Link:
        """The largest face of a photo; ``changed`` replaces ``dynamicid``, ``face_analysis`` or ``clip_vision``."""
        sources = {"dynamicid": self.networks, "face_analysis": self.finder, "clip_vision": self.vision}
        links = {name: changed[name] if name in changed else make() for name, make in sources.items()}
        image = self.photo(image) if isinstance(image, str) else image
        return self.add("DynamicIDEncodeFace", **links, image=image, pick="largest", index=0, crop=crop)

    def kept(self, name: str) -> Link:
        """A saved face."""
        return self.once("DynamicIDLoadFace", name=name)

    def edited(self, face: Link, target_prompt: str = "in a happy expression, in side view", **changed: Any) -> Link:
        """A face with another motion."""
        inputs: dict[str, Any] = {"source_prompt": "", "strength": 1.0, **changed}
        if "dynamicid" not in inputs:
            inputs["dynamicid"] = self.networks(imr="IMR.bin")
        if "clip" not in inputs:
            inputs["clip"] = self.checkpoint()[1]
        return self.add("DynamicIDEditFace", face=face, target_prompt=target_prompt, **inputs)

    def motion_of(self, **inputs: Link) -> str:
        """Motion Sliders at rest behind a face or a motion; the node whose ``dynamicid_motion`` names what it got."""
        moved = self.add("DynamicIDMotionSliders", neutralise=False, **inputs, **dict.fromkeys(RANGES, 0.0))
        self.preview(self.output(moved, 1))
        return moved[0]

    # Places -----------------------------------------------------------------------------------------------------

    def region(self, face: Link, box: Box = NO_BOX, mask: Link | None = None, regions: Link | None = None) -> Link:
        """One more person."""
        x, y, width, height = box
        return self.add(
            "DynamicIDRegion", face=face, x=x, y=y, width=width, height=height, mask=mask, regions=regions
        )  # fmt: skip

    def regions(self, faces: Sequence[Link], boxes: Sequence[Box] | None = None) -> Link:
        """Several people; without boxes they share equal vertical slices."""
        chain = None
        for number, face in enumerate(faces):
            chain = self.region(face, boxes[number] if boxes else NO_BOX, regions=chain)
        assert chain is not None
        return chain

    def apply(self, model: Link | None = None, dynamicid: Link | None = None, **inputs: Any) -> Link:
        """The patched model: ``face=`` or ``regions=``, and any of the numbers."""
        return self.add(
            "DynamicIDApply",
            model=model or self.checkpoint()[0],
            dynamicid=dynamicid or self.networks(),
            **{**APPLY_DEFAULTS, **inputs},
        )

    # Pictures ---------------------------------------------------------------------------------------------------

    def sampled(
        self, model: Link, prompt: str = "the sea", seed: int = 1, size: tuple[int, int] = (SIDE, SIDE), **settings: Any
    ) -> Link:
        """IMAGE of ``size`` (height, width) painted by ``model``."""
        _, clip, vae = self.checkpoint()
        height, width = size
        latent = self.once("EmptyLatentImage", width=width, height=height, batch_size=settings.pop("batch", 1))
        samples = self.add(
            "KSampler",
            model=model,
            positive=self.add("CLIPTextEncode", clip=clip, text=prompt),
            negative=self.add("CLIPTextEncode", clip=clip, text=""),
            latent_image=latent,
            **{
                "seed": seed, "steps": 2, "cfg": 4.0, "sampler_name": "ddim", "scheduler": "simple", "denoise": 1.0,
                **settings,
            },
        )  # fmt: skip
        return self.add("VAEDecode", samples=samples, vae=vae)

    def preview(self, image: Link) -> Link:
        """Output node for a picture; lossless."""
        return self.add("PreviewImage", images=image)

    def look(self, value: Link) -> Link:
        """Output node for anything else, so that it runs."""
        return self.add("PreviewAny", source=value)


def picture_of(face_names: Sequence[str], boxes: Sequence[Box] | None = None, **options: Any) -> Graph:
    """The smallest whole graph: saved faces at their places, two steps, a preview."""
    graph = Graph()
    people = graph.regions([graph.kept(name) for name in face_names], boxes)
    graph.preview(graph.sampled(graph.apply(regions=people, **options)))
    return graph
