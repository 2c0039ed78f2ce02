"""Sitters as the method sees them: through the face networks, the image encoder, the projector and the IMR."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynamicid.checkpoints import DynamicIDWeights
from dynamicid.faces.detected import DetectedFace, order_faces
from dynamicid.faces.face import Face
from dynamicid.faces.landmarks import keypoint_map
from dynamicid.pipeline.preprocessing import clip_pixels
from dynamicid.pipeline.stable_diffusion import StableDiffusion, encode_text, vision_states
from dynamicid.training.caching import Analyzer, reference_part

from .benchmark import Sitter


@dataclass(frozen=True, eq=False)
class EncodedSitter:
    """A person as they are in the photo, with the target's motion put in, and as a photo in that motion has them; None
    where no face was found or no IMR is there.

    ``missed``: pictures (of 3) in which the face networks found no face.
    """

    plain: Face | None
    edited: Face | None
    ideal: Face | None
    missed: int


class SitterEncoder:
    """Photos to identity tokens, and tokens to other motions.

    Args:
        base: Its text encoder reads the face prompts.
        vision: The image encoder.
        analyzer: The face networks.
        weights: With or without an IMR.
    """

    def __init__(self, base: StableDiffusion, vision: Any, analyzer: Analyzer, weights: DynamicIDWeights) -> None:
        self.base, self.vision, self.analyzer, self.weights = base, vision, analyzer, weights
        self._side = int(vision.config.image_size)
        zero = torch.zeros(1, 3, self._side, self._side)
        with torch.no_grad():
            states = vision_states(vision, zero).float()
            self._negative = weights.projector(torch.zeros(1, weights.projector.id_width), states)[0]

    @torch.no_grad()
    def encode(self, sitter: Sitter) -> EncodedSitter:
        """All versions of a sitter."""
        photo, model = (_largest(self.analyzer.detect(picture)) for picture in (sitter.photo, sitter.model))
        ideal = self.face_in(sitter.ideal)
        missed = sum(face is None for face in (photo, model, ideal))
        if photo is None:
            return EncodedSitter(None, None, ideal, missed)
        plain = self._face(sitter.photo, photo)
        if model is None or self.weights.imr is None:
            return EncodedSitter(plain, None, ideal, missed)
        maps = torch.stack([keypoint_map(face.landmarks_106) for face in (photo, model)])
        edited = self._edit(plain.id_tokens, maps, (sitter.photo_prompt, sitter.prompt))
        return EncodedSitter(plain, replace(plain, id_tokens=edited), ideal, missed)

    @torch.no_grad()
    def face_in(self, picture: np.ndarray) -> Face | None:
        """The largest face of a picture (size, size, 3) uint8."""
        found = _largest(self.analyzer.detect(picture))
        return None if found is None else self._face(picture, found)

    def _face(self, picture: np.ndarray, found: DetectedFace) -> Face:
        pixels = clip_pixels(reference_part(picture, found, "portrait"), self._side)
        embedding = torch.from_numpy(found.embedding).float()
        tokens = self.weights.projector(embedding[None], vision_states(self.vision, pixels[None]).float())[0]
        return Face(tokens, self._negative, embedding)

    def _edit(self, tokens: Tensor, maps: Tensor, prompts: tuple[str, str]) -> Tensor:
        """tokens (T, width), maps (2, 1, 96, 96) of photo and target -> (T, width) in the target's motion."""
        imr, encoder = self.weights.imr, self.weights.keypoint_encoder
        assert imr is not None
        assert encoder is not None
        motion = torch.cat([encoder(maps), encode_text(self.base, prompts)[1]], dim=1)
        return imr(tokens[None], motion[:1], motion[1:])[0]


def _largest(faces: list[DetectedFace]) -> DetectedFace | None:
    return order_faces(faces, "largest")[0] if faces else None
