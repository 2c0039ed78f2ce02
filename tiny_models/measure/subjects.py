"""Encodes the subjects of the benchmark: face networks, image encoder, projector and IMR."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynamicid.checkpoints import DynamicIDWeights
from dynamicid.faces.detected import DetectedFace, order_faces
from dynamicid.faces.drawing import portrait_crop_box
from dynamicid.faces.encoding import FaceDetector, cut_out
from dynamicid.faces.face import Face
from dynamicid.faces.landmarks import keypoint_map
from dynamicid.pipeline.preprocessing import clip_pixels
from dynamicid.pipeline.stable_diffusion import StableDiffusion, encode_text, vision_states

from .benchmark import Subject


@dataclass(frozen=True, eq=False)
class EncodedSubject:
    """The three versions of a subject's face; None where no face was found, or without an IMR.

    Attributes:
        plain: Encoded from the photo.
        edited: ``plain`` with the target motion, by the IMR.
        ideal: Encoded from the photo in the target motion.
        missed: Number of the 3 pictures in which the face networks found no face.
    """

    plain: Face | None
    edited: Face | None
    ideal: Face | None
    missed: int


class SubjectEncoder:
    """Encodes photos to identity tokens, and edits their motion.

    Args:
        base: Its text encoder encodes the face prompts.
        vision: The image encoder.
        analyzer: The face networks.
        weights: With or without an IMR.
    """

    def __init__(self, base: StableDiffusion, vision: Any, analyzer: FaceDetector, weights: DynamicIDWeights) -> None:
        self.base, self.vision, self.analyzer, self.weights = base, vision, analyzer, weights
        self._side = int(vision.config.image_size)
        zero = torch.zeros(1, 3, self._side, self._side)
        with torch.no_grad():
            states = vision_states(vision, zero).float()
            self._negative = weights.projector(torch.zeros(1, weights.projector.id_width), states)[0]

    @torch.no_grad()
    def encode(self, subject: Subject) -> EncodedSubject:
        """All versions of a subject's face."""
        photo, driving = (_largest(self.analyzer.detect(picture)) for picture in (subject.photo, subject.driving_photo))
        ideal = self.face_in(subject.ideal_photo)
        missed = sum(face is None for face in (photo, driving, ideal))
        if photo is None:
            return EncodedSubject(None, None, ideal, missed)
        plain = self._encode(subject.photo, photo)
        if driving is None or self.weights.imr is None:
            return EncodedSubject(plain, None, ideal, missed)
        maps = torch.stack([keypoint_map(face.landmarks_106) for face in (photo, driving)])
        edited = self._edit(plain.id_tokens, maps, (subject.photo_prompt, subject.prompt))
        return EncodedSubject(plain, replace(plain, id_tokens=edited), ideal, missed)

    @torch.no_grad()
    def face_in(self, picture: np.ndarray) -> Face | None:
        """The largest face of a picture (size, size, 3) uint8."""
        face = _largest(self.analyzer.detect(picture))
        return None if face is None else self._encode(picture, face)

    def _encode(self, picture: np.ndarray, face: DetectedFace) -> Face:
        portrait = cut_out(picture, portrait_crop_box(face.box_xyxy, *picture.shape[:2]))
        pixels = clip_pixels(portrait, self._side)
        embedding = torch.from_numpy(face.embedding).float()
        tokens = self.weights.projector(embedding[None], vision_states(self.vision, pixels[None]).float())[0]
        return Face(tokens, self._negative, embedding)

    def _edit(self, tokens: Tensor, maps: Tensor, prompts: tuple[str, str]) -> Tensor:
        """tokens (T, width), maps (2, 1, 96, 96) of photo and target -> (T, width) in the target motion."""
        imr, encoder = self.weights.imr, self.weights.keypoint_encoder
        assert imr is not None
        assert encoder is not None
        motion = torch.cat([encoder(maps), encode_text(self.base, prompts)[1]], dim=1)
        return imr(tokens[None], motion[:1], motion[1:])[0]


def _largest(faces: list[DetectedFace]) -> DetectedFace | None:
    return order_faces(faces, "largest")[0] if faces else None
