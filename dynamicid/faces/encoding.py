"""Encoding a face: what the networks see of a photo, and how identity tokens follow from it.

The nodes, the diffusers pipeline, training and curation all use these functions, each with its own face detector and
its own CLIP. Source: docs/method.md, Face encoder.
Legend: B photos, T identity tokens, W their width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..boxes import BoxXyxyPx
from ..models import FaceProjector
from .analysis import intersection_over_union
from .detected import LANDMARK_SIZE, DetectedFace
from .drawing import face_crop_box, portrait_crop_box
from .emotions import EmotionReader, likeliest_emotion
from .face import Face
from .motion import Motion, described_motion
from .similarity import warn_of_strangers

CROP_SIDE = 256
"""Longest side in pixels of the picture that a ``Face`` keeps."""
SAME_FACE_OVERLAP = 0.3
"""Least intersection over union of a face's box in the photo with its box in the portrait."""


@runtime_checkable
class FaceDetector(Protocol):
    """What is needed of ``analysis.FaceAnalyzer``."""

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """All faces of an RGB uint8 picture."""
        ...


@dataclass(frozen=True, eq=False)
class Portrait:
    """One face of one photo, read.

    Attributes:
        embedding: (512,) of the face in the whole photo.
        picture: (height, width, 3) uint8, the part of the photo that CLIP sees.
        landmarks_106: (106, 2) in pixels of ``picture`` resized to 512 x 512.
        pose: (3,) pitch, yaw, roll in degrees.
        crop: (side, side, 3) uint8, a square around the face.
        crop_box_xyxy: Where the square lies, in pixels of ``picture`` resized to 512 x 512.
        emotion: One of ``prompts.EMOTIONS``; None without an emotion network.
    """

    embedding: np.ndarray = field(repr=False)
    picture: np.ndarray = field(repr=False)
    landmarks_106: np.ndarray = field(repr=False)
    pose: np.ndarray = field(repr=False)
    crop: np.ndarray = field(repr=False)
    crop_box_xyxy: BoxXyxyPx
    emotion: str | None = None

    @property
    def motion(self) -> Motion:
        """Expression and head pose, with the face prompt that describes them."""
        landmarks, pose = (torch.from_numpy(x).float() for x in (self.landmarks_106, self.pose))
        return described_motion(landmarks, pose, self.emotion)


def read_portrait(
    detector: FaceDetector,
    photo: np.ndarray,
    face: DetectedFace,
    crop: bool = True,
    emotion_reader: EmotionReader | None = None,
) -> Portrait:
    """Cuts the portrait out of a photo and reads the motion there.

    Landmarks and pose are read a second time in the portrait, as stage 2 of the training reads them. Where the face is
    not found again, those of the whole photo are converted.

    Args:
        detector: Finds the face in the portrait.
        photo: (height, width, 3) uint8 RGB.
        face: One of its faces.
        crop: False = the portrait is the whole photo.
        emotion_reader: Sees the whole photo.
    """
    height, width = photo.shape[:2]
    box = portrait_crop_box(face.box_xyxy, height, width) if crop else (0, 0, width, height)
    picture, landmarks, pose = cut_out(photo, box), face.landmarks_106, face.pose
    if picture.shape != photo.shape:
        found = find_in_portrait(detector, picture, box, face)
        landmarks, pose = (
            (_landmarks_in(box, photo, face), pose) if found is None else (found.landmarks_106, found.pose)
        )
    crop_box = face_crop_box(face.box_xyxy, height, width)
    scale = np.array([LANDMARK_SIZE / picture.shape[1], LANDMARK_SIZE / picture.shape[0]] * 2)
    left, top, right, bottom = ((np.array(crop_box) - (box[:2] * 2)) * scale).tolist()
    return Portrait(
        embedding=face.embedding,
        picture=picture,
        landmarks_106=landmarks,
        pose=pose,
        crop=cut_out(photo, crop_box).copy(),
        crop_box_xyxy=(left, top, right, bottom),
        emotion=None if emotion_reader is None else likeliest_emotion(emotion_reader.read(photo, face)),
    )


def cut_out(photo: np.ndarray, box_xyxy: tuple[int, int, int, int]) -> np.ndarray:
    """The part of (height, width, 3) inside a box of whole pixels; a view."""
    left, top, right, bottom = box_xyxy
    return photo[top:bottom, left:right]


def find_in_portrait(
    detector: FaceDetector, picture: np.ndarray, box_xyxy: tuple[int, int, int, int], face: DetectedFace
) -> DetectedFace | None:
    """The same face as the networks see it in its portrait; None if it is not found there.

    Args:
        detector: Finds faces.
        picture: The portrait.
        box_xyxy: Where it lies in the photo, in pixels.
        face: As found in the whole photo.
    """
    expected = np.array(face.box_xyxy) - (box_xyxy[:2] * 2)
    candidates = detector.detect(np.ascontiguousarray(picture))
    overlaps = [intersection_over_union(np.array(candidate.box_xyxy), expected) for candidate in candidates]
    if not overlaps or max(overlaps) < SAME_FACE_OVERLAP:
        return None
    return candidates[int(np.argmax(overlaps))]


def _landmarks_in(box_xyxy: tuple[int, int, int, int], photo: np.ndarray, face: DetectedFace) -> np.ndarray:
    """Landmarks of the whole photo in pixels of the part inside the box, resized to 512 x 512."""
    left, top, right, bottom = box_xyxy
    pixels = face.landmarks_106 * (photo.shape[1] / LANDMARK_SIZE, photo.shape[0] / LANDMARK_SIZE) - (left, top)
    return (pixels * (LANDMARK_SIZE / (right - left), LANDMARK_SIZE / (bottom - top))).astype(np.float32)


def identity_tokens(projector: FaceProjector, embeddings: Tensor, clip_states: Tensor) -> Tensor:
    """Identity tokens of single photos.

    Args:
        projector: On any device.
        embeddings: (B, 512).
        clip_states: (B, 257, 1280) penultimate hidden states.

    Returns:
        (B, T, W) float32 on the CPU.
    """
    place = next(projector.parameters())
    with torch.no_grad():
        return projector(embeddings.to(place), clip_states.to(place)).float().cpu()


def encode_portraits(
    projector: FaceProjector, portraits: Sequence[Portrait], clip_states: Tensor, zero_states: Tensor
) -> Face:
    """One person from one or more photos.

    Tokens and embeddings are averaged; landmarks, pose, emotion and crop are the first photo's. Photos that look like
    different people are warned of.

    Args:
        projector: The face projector.
        portraits: B photos of the person.
        clip_states: (B, 257, 1280) hidden states of their ``picture``.
        zero_states: (1, 257, 1280) hidden states of an all-zero normalised pixel tensor; with a zero embedding they
            give the tokens of the negative branch.
    """
    embeddings = torch.from_numpy(np.stack([portrait.embedding for portrait in portraits])).float()
    warn_of_strangers([portrait.embedding for portrait in portraits])
    mean = embeddings.mean(dim=0)
    first = portraits[0]
    return Face(
        id_tokens=identity_tokens(projector, embeddings, clip_states).mean(dim=0),
        negative_tokens=identity_tokens(projector, torch.zeros(1, projector.id_width), zero_states)[0],
        id_embedding=mean / mean.norm().clamp_min(1e-12),
        landmarks_106=torch.from_numpy(first.landmarks_106).float(),
        pose=torch.from_numpy(first.pose).float(),
        crop=torch.from_numpy(_shrink(first.crop)),
        crop_box_xyxy=first.crop_box_xyxy,
        emotion=first.emotion,
    )


def _shrink(crop: np.ndarray) -> np.ndarray:
    """At most 256 pixels a side, so that a face file stays small."""
    longest = max(crop.shape[:2])
    if longest <= CROP_SIDE:
        return crop
    size = tuple(max(round(side * CROP_SIDE / longest), 1) for side in crop.shape[:2])
    pixels = rearrange(torch.from_numpy(crop), "h w c -> 1 c h w").float()
    small = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return rearrange(small, "1 c h w -> h w c").round().clamp(0, 255).to(torch.uint8).numpy()
