"""What is known of a rendered picture, exactly: boxes, key points, landmarks, pose, identity, motion, caption."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .captions import Attribute
from .face_landmarks import face_box, key_points_5, landmarks_106
from .head import DrawnHead
from .identity import Identity
from .motion import DrawnMotion, motion_prompt


@dataclass(frozen=True)
class FaceAnnotation:
    """One face in a picture. Pixels count from the picture's upper left corner.

    Args:
        box_xyxy: Left, top, right, bottom in pixels, from the forehead to the chin; may reach out of the picture.
        key_points_5: (5, 2) pixels: left eye, right eye, tip of the nose, left and right corner of the mouth.
        landmarks_106: (106, 2) pixels, numbered as ``face_landmarks.NUMBERING`` says.
        pose: Pitch, yaw, roll in degrees.
        prompt: The face prompt.
        identity, motion: The parameters behind it all.
    """

    box_xyxy: tuple[float, float, float, float]
    key_points_5: np.ndarray
    landmarks_106: np.ndarray
    pose: tuple[float, float, float]
    prompt: str
    identity: Identity
    motion: DrawnMotion

    @property
    def person(self) -> int:
        """The person's number."""
        return self.identity.number

    def as_json(self) -> dict[str, Any]:
        """Everything in lists, dictionaries, numbers and strings; pixels and degrees rounded to 1/1000."""
        measured = ("box_xyxy", "key_points_5", "landmarks_106", "pose")
        rounded = {name: np.round(getattr(self, name), 3).tolist() for name in measured}
        who, what = asdict(self.identity), asdict(self.motion)
        return {"person": self.person, **rounded, "prompt": self.prompt, "identity": who, "motion": what}


@dataclass(frozen=True)
class PictureAnnotation:
    """A whole picture.

    Args:
        number: The picture's number in the sampling.
        size: Pixels a side.
        caption: The sentence that describes it.
        attributes: What the caption asks for.
        faces: From left to right.
        objects: Their boxes, left, top, right, bottom in pixels, in the attributes' order.
    """

    number: int
    size: int
    caption: str
    attributes: tuple[Attribute, ...]
    faces: tuple[FaceAnnotation, ...]
    objects: tuple[tuple[float, float, float, float], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Everything in lists, dictionaries, numbers and strings; pixels rounded to 1/1000."""
        return {
            "number": self.number,
            "size": self.size,
            "caption": self.caption,
            "attributes": [asdict(attribute) for attribute in self.attributes],
            "faces": [face.as_json() for face in self.faces],
            "objects": [np.round(box, 3).tolist() for box in self.objects],
        }


def annotate(head: DrawnHead) -> FaceAnnotation:
    """Everything about the face of a head."""
    return FaceAnnotation(
        box_xyxy=face_box(head),
        key_points_5=key_points_5(head),
        landmarks_106=landmarks_106(head),
        pose=head.motion.pose,
        prompt=motion_prompt(head.motion),
        identity=head.identity,
        motion=head.motion,
    )
