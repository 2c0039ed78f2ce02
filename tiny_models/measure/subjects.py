"""Encodes the subjects of the benchmark: face networks, image encoder, projector and IMR."""

from dataclasses import dataclass, replace

import numpy as np

from dynamicid.faces.detected import NoFaceError
from dynamicid.faces.encoding import Portrait
from dynamicid.faces.face import Face
from dynamicid.pipeline.pipeline import DynamicIDPipeline

from .benchmark import CaseSubject


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
        pipeline: With or without an IMR.
    """

    def __init__(self, pipeline: DynamicIDPipeline) -> None:
        self.pipeline = pipeline

    def encode(self, subject: CaseSubject) -> EncodedSubject:
        """All versions of a subject's face."""
        photo, ideal = self._portrait(subject.photo), self._portrait(subject.ideal_photo)
        # Landmarks of the whole pictures, as in the portraits that the IMR was trained with.
        source, driving = (self._portrait(picture, crop=False) for picture in (subject.photo, subject.driving_photo))
        missed = sum(portrait is None for portrait in (photo, driving, ideal))
        plain, ideal_face = self._face(photo), self._face(ideal)
        if plain is None or source is None or driving is None or self.pipeline.weights.imr is None:
            return EncodedSubject(plain, None, ideal_face, missed)
        motion = replace(driving.motion, prompt=subject.prompt)
        plain = replace(plain, landmarks_106=source.motion.landmarks_106, pose=source.motion.pose)
        edited = self.pipeline.edit_face(plain, source_prompt=subject.photo_prompt, motion=motion)
        return EncodedSubject(plain, edited, ideal_face, missed)

    def face_in(self, picture: np.ndarray) -> Face | None:
        """The largest face of a picture (size, size, 3) uint8; None where none is found."""
        return self._face(self._portrait(picture))

    def _face(self, portrait: Portrait | None) -> Face | None:
        return None if portrait is None else self.pipeline.encode_portraits([portrait])

    def _portrait(self, picture: np.ndarray, crop: bool = True) -> Portrait | None:
        try:
            return self.pipeline.read_portraits([picture], crop=crop)[0]
        except NoFaceError:
            return None
