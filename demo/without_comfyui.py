"""The demo's pictures without a ComfyUI: the tiny models painted with diffusers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers.utils import logging as transformers_logging

from dynamicid.faces.face import Face
from dynamicid.faces.motion import described_motion
from dynamicid.faces.motion_frames import preset_motions
from dynamicid.faces.regions import Region
from dynamicid.host.heat_map import paint
from dynamicid.pipeline.painter import PaintSettings, PictureRequest
from dynamicid.pipeline.pipeline import DynamicIDPipeline
from tiny_models.places import BASE, COMFY_SIDE, DYNAMICID, PICTURE_SIZE, VISION

from .graphs import SamplingSettings
from .models import Models
from .pictures import PictureSpec, TargetMotion

CELL = 8
"""Pixels that ``SamplingSettings.size`` counts a latent cell."""
PIXELS_A_CELL = CELL * PICTURE_SIZE // COMFY_SIDE
"""Pixels that a latent cell of the tiny models becomes."""


def base_only_steps(steps: int, start_at: float) -> int:
    """The number of first steps, of those that ``ddim_uniform`` spreads over 1000 timesteps, before ``start_at``."""
    return sum(timestep > (1 - start_at) * 999 for timestep in range(1, 1000, 1000 // steps))


class DiffusersPainter:
    """Paints the people of some photos with the tiny models.

    Args:
        models: Where the face networks are.
        settings: How pictures are sampled.
        photos: One a person, (height, width, 3) uint8.
    """

    def __init__(self, models: Models, settings: SamplingSettings, photos: Sequence[np.ndarray]) -> None:
        transformers_logging.disable_progress_bar()
        self.settings = settings
        self._pipeline = DynamicIDPipeline.from_files(BASE, VISION, DYNAMICID, models.face_pack, imr=DYNAMICID)
        self._faces = [self._pipeline.encode_face(photo) for photo in photos]

    def paint(self, specs: Sequence[PictureSpec]) -> dict[str, Image.Image]:
        """Pictures and activation maps by their names."""
        cells = self.settings.size // CELL
        settings = PaintSettings(
            (cells, cells),
            self.settings.steps,
            self.settings.guidance,
            layout_strength=self.settings.layout_strength,
            base_only_steps=base_only_steps(self.settings.steps, self.settings.start_at),
            record=any(spec.activation_names() for spec in specs),
        )
        requests = [self._request(spec) for spec in specs]
        painted = self._pipeline.paint(requests, settings)
        images = {}
        for number, spec in enumerate(specs):
            images[spec.name] = painted.images[number]
            for person, name in enumerate(spec.activation_names()):
                images[name] = _heat(painted.pictures[number], painted.activations[number][person])
            if spec.repainted_name:
                picture = painted.pictures[number : number + 1]
                images[spec.repainted_name] = self._repaint(picture, requests[number], spec.portraits)
        return images

    def _repaint(self, picture: torch.Tensor, request: PictureRequest, portraits: str) -> Image.Image:
        """(1, height, width, 3) uint8 with every face repainted by itself."""
        cells = self.settings.crop_size // PIXELS_A_CELL
        steps, share = self.settings.repaint_steps, self.settings.repaint
        settings = PaintSettings((cells, cells), steps, self.settings.guidance, denoise=share)
        return Image.fromarray(self._pipeline.repaint_people(picture, [request], settings, portraits)[0].numpy())

    def _request(self, spec: PictureSpec) -> PictureRequest:
        faces = [self._edit(self._faces[person], spec.motion) for person in spec.people]
        boxes = spec.boxes or (None,)
        people = tuple(Region(face, box) for face, box in zip(faces, boxes, strict=True))
        return PictureRequest(spec.prompt, people, self.settings.seed, self.settings.negative)

    def _edit(self, face: Face, target: TargetMotion | None) -> Face:
        """As Motion Presets and Edit Face do."""
        if target is None or face.landmarks_106 is None or face.pose is None:
            return face
        own = described_motion(face.landmarks_106, face.pose)
        motion, _ = preset_motions(own, target.expression, target.view, strength=1.0)
        return self._pipeline.edit_face(face, motion=motion)


def _heat(picture: torch.Tensor, activation: torch.Tensor) -> Image.Image:
    """The picture (height, width, 3) uint8 under the map (h, w), as Activation Preview shows it."""
    size = tuple(picture.shape[:2])
    over = torch.nn.functional.interpolate(activation[None, None], size=size, mode="bilinear", align_corners=False)
    heat = paint(picture[None].float() / 255, over, float(over.max()))[0]
    return Image.fromarray((heat.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
