"""The demo's pictures without a ComfyUI: the tiny models painted with diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from transformers.utils import logging as transformers_logging

from dynamicid.checkpoints.weights import load_weights
from dynamicid.faces.analysis import load_face_analysis
from dynamicid.faces.detected import choose_face
from dynamicid.faces.drawing import portrait_crop_box
from dynamicid.faces.face import Face
from dynamicid.faces.landmarks import keypoint_map
from dynamicid.faces.motion import described_motion
from dynamicid.faces.motion_sliders import move, sliders_from
from dynamicid.faces.regions import Region
from dynamicid.host.heat_map import paint
from dynamicid.pipeline.painter import Painter, PaintSettings, PictureRequest
from dynamicid.pipeline.preprocessing import clip_pixels
from dynamicid.pipeline.stable_diffusion import encode_text, load_base, load_clip_vision, vision_states
from dynamicid.pipeline.weight_export import saa_state_dict
from tiny_models.places import BASE, DYNAMICID, VISION

from .graphs import Settings
from .models import Models
from .pictures import PictureSpec, TargetMotion

CELL = 8
"""Pixels that ``Settings.size`` counts a latent cell."""


class Studio:
    """The tiny models and the people it paints.

    Args:
        models: The tiny models'.
        settings: How pictures are sampled.
        photos: One a person, (height, width, 3) uint8.
    """

    def __init__(self, models: Models, settings: Settings, photos: Sequence[np.ndarray]) -> None:
        transformers_logging.disable_progress_bar()
        self.settings = settings
        self._base = load_base(BASE)
        self._vision = load_clip_vision(VISION)
        self._weights = load_weights(DYNAMICID, DYNAMICID)
        self._analyzer = load_face_analysis(models.face_pack)
        self._painter = Painter(self._base, saa_state_dict(self._weights))
        self._faces = [self._encode(photo) for photo in photos]

    def paint(self, shots: Sequence[PictureSpec]) -> dict[str, Image.Image]:
        """Pictures and activation maps by their names."""
        orders = [self._order(shot) for shot in shots]
        wanted, cells = self.settings, self.settings.size // CELL
        settings = PaintSettings(
            (cells, cells),
            wanted.steps,
            wanted.guidance,
            layout_strength=wanted.layout_strength,
            base_only_steps=wanted.base_only_steps,
            record=any(shot.activation_names() for shot in shots),
        )
        painted = self._painter.paint(orders, settings)
        found = {}
        for number, shot in enumerate(shots):
            picture = painted.pictures[number]
            found[shot.name] = Image.fromarray(picture.numpy())
            for person, name in enumerate(shot.activation_names()):
                found[name] = _heat(picture, painted.activations[number][person])
        return found

    def _order(self, shot: PictureSpec) -> PictureRequest:
        faces = [self._moved(self._faces[person], shot.motion) for person in shot.people]
        places = shot.boxes or (None,)
        people = tuple(Region(face, place) for face, place in zip(faces, places, strict=True))
        return PictureRequest(shot.prompt, people, self.settings.seed, self.settings.negative)

    @torch.no_grad()
    def _encode(self, photo: np.ndarray) -> Face:
        """As Encode Face does: a portrait crop for the image encoder and for the motion."""
        face = choose_face(self._analyzer.detect(photo), "largest", 0, "PHOTO")
        left, top, right, bottom = portrait_crop_box(face.box_xyxy, *photo.shape[:2])
        crop = photo[top:bottom, left:right]
        seen = choose_face(self._analyzer.detect(crop), "largest", 0, "PHOTO")
        side = int(self._vision.config.image_size)  # pyright: ignore[reportArgumentType]
        pixels = torch.stack([clip_pixels(crop, side), torch.zeros(3, side, side)])
        embedding = torch.from_numpy(face.embedding).float()
        embeddings = torch.stack([embedding, torch.zeros_like(embedding)])
        tokens, negative = self._weights.projector(embeddings, vision_states(self._vision, pixels))
        landmarks, pose = (torch.from_numpy(x).float() for x in (seen.landmarks_106, seen.pose))
        return Face(tokens, negative, embedding, landmarks, pose)

    @torch.no_grad()
    def _moved(self, face: Face, wanted: TargetMotion | None) -> Face:
        """As Motion Sliders and Edit Face do."""
        imr, encoder = self._weights.imr, self._weights.keypoint_encoder
        if wanted is None or imr is None or encoder is None:
            return face
        assert face.landmarks_106 is not None
        assert face.pose is not None
        own = described_motion(face.landmarks_106, face.pose)
        target = move(own, sliders_from(wanted.sliders, neutralise=True))
        maps = torch.stack([keypoint_map(own.landmarks_106), keypoint_map(target.landmarks_106)])
        prompts = encode_text(self._base, [own.prompt, wanted.prompt])[1]
        source, goal = torch.cat([encoder(maps), prompts], dim=1)
        return replace(face, id_tokens=imr(face.id_tokens[None], source[None], goal[None])[0])


def _heat(picture: torch.Tensor, activation: torch.Tensor) -> Image.Image:
    """The picture (height, width, 3) uint8 under the map (h, w), as Activation Preview shows it."""
    size = tuple(picture.shape[:2])
    over = torch.nn.functional.interpolate(activation[None, None], size=size, mode="bilinear", align_corners=False)
    heat = paint(picture[None].float() / 255, over, float(over.max()))[0]
    return Image.fromarray((heat.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
