"""From photos to faces and motions: detection, CLIP and the projector, one photo after the other."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.utils
import numpy as np
import torch
from torch import Tensor

from ..checkpoints.weights import DynamicIDWeights
from ..errors import DynamicIDError
from ..faces.analysis import FaceAnalyzer, intersection_over_union, load_face_analysis
from ..faces.detected import LANDMARK_SIZE, DetectedFace, choose_face, order_faces
from ..faces.drawing import draw_faces, face_crop_box, portrait_crop_box
from ..faces.emotions import likeliest_emotion, load_emotion_reader
from ..faces.face import Face
from ..faces.motion import Motion, described_motion
from ..faces.packs import find_pack
from . import folders
from .encoders import check_clip_vision, clip_hidden_states, zero_hidden_states
from .images import checked_images, to_batch, to_image, to_uint8

logger = logging.getLogger(__name__)

CROP_SIDE = 256
"""Longest side in pixels of the crop that a face keeps."""


@dataclass(frozen=True)
class Choice:
    """Which of the faces in a photo is meant: ``pick`` orders them, ``index`` counts from 0."""

    pick: str
    index: int


@dataclass(frozen=True)
class Portrait:
    """One photo after detection.

    Args:
        embedding: (512,) of the chosen face in the whole photo.
        picture: (height, width, 3) uint8, what CLIP sees: the portrait crop or the whole photo.
        landmarks_106: (106, 2) in pixels of ``picture`` resized to 512 x 512.
        pose: (3,) pitch, yaw, roll in degrees.
        crop: (side, side, 3) uint8 square around the face.
        crop_box_xyxy: Where the square lies, in pixels of ``picture`` resized to 512 x 512.
        emotion: One of ``prompts.EMOTIONS``; None without an emotion network.
        preview: The photo with its faces numbered, the chosen one highlighted.
    """

    embedding: np.ndarray
    picture: np.ndarray
    landmarks_106: np.ndarray
    pose: np.ndarray
    crop: np.ndarray
    crop_box_xyxy: tuple[float, float, float, float]
    emotion: str | None
    preview: np.ndarray


def load_analyzer(pack: str, provider: str) -> FaceAnalyzer:
    """The face finder, with the emotion network that lies in ``models/dynamicid/emotion``, if there is one.

    Raises:
        DynamicIDError: No such pack, files missing or broken, or an emotion network that is not understood.
    """
    pack_dir = find_pack(folders.insightface_roots(), pack)
    path = folders.emotion_file()
    reader = None if path is None else load_emotion_reader(path)
    if reader is not None:
        logger.info("Expressions in photos are read with %s (%s).", reader.path, reader.layout.name)
    return load_face_analysis(pack_dir, provider, reader)


def encode_face(
    weights: DynamicIDWeights,
    analyzer: FaceAnalyzer,
    clip_vision: Any,
    images: Tensor,
    choice: Choice,
    crop: bool,
) -> tuple[Face, Tensor]:
    """One person from one or more photos: tokens and embeddings are averaged (node contract).

    Args:
        weights: Loaded networks.
        analyzer: Face finder.
        clip_vision: The host's ViT-H/14.
        images: (B, height, width, 3) IMAGE, B photos of one person.
        choice: Which face of each photo.
        crop: Whether CLIP sees a portrait crop instead of the whole photo.

    Returns:
        The face (landmarks, pose, emotion and crop are the first photo's) and a preview IMAGE, one picture a photo.

    Raises:
        DynamicIDError: Unusable picture, no such face, or an image encoder other than ViT-H.
    """
    check_clip_vision(clip_vision, weights.projector.media_width)
    portraits, states = [], []
    for portrait in find_portraits(analyzer, images, choice, crop):
        portraits.append(portrait)
        states.append(clip_hidden_states(clip_vision, to_image(portrait.picture)))
    hidden = torch.cat(states)
    embeddings = torch.from_numpy(np.stack([portrait.embedding for portrait in portraits])).float()
    with torch.no_grad():
        tokens = weights.projector(embeddings, hidden).mean(dim=0)
        nobody = torch.zeros(1, weights.projector.id_width)
        negative = weights.projector(nobody, zero_hidden_states(clip_vision))[0]
    mean = embeddings.mean(dim=0)
    first = portraits[0]
    face = Face(
        id_tokens=tokens,
        negative_tokens=negative,
        id_embedding=mean / mean.norm().clamp_min(1e-12),
        landmarks_106=torch.from_numpy(first.landmarks_106).float(),
        pose=torch.from_numpy(first.pose).float(),
        crop=torch.from_numpy(_shrink(first.crop)),
        crop_box_xyxy=first.crop_box_xyxy,
        emotion=first.emotion,
    )
    return face, to_batch([portrait.preview for portrait in portraits])


def motion_from_image(analyzer: FaceAnalyzer, images: Tensor, choice: Choice) -> tuple[Motion, Tensor]:
    """Expression and head pose of the chosen face of one photo, in the same portrait crop that encoding uses.

    Returns:
        The motion and a preview IMAGE.

    Raises:
        DynamicIDError: Unusable picture, several pictures, or no such face.
    """
    if images.ndim == 4 and images.shape[0] > 1:
        raise DynamicIDError(
            "image", f"There are {images.shape[0]} pictures; a motion comes from one.", "Connect a single picture."
        )
    portrait = next(find_portraits(analyzer, images, choice, crop=True))
    landmarks, pose = (torch.from_numpy(x).float() for x in (portrait.landmarks_106, portrait.pose))
    return described_motion(landmarks, pose, portrait.emotion), to_image(portrait.preview)


def find_portraits(analyzer: FaceAnalyzer, images: Tensor, choice: Choice, crop: bool) -> Iterator[Portrait]:
    """Detects and chooses one face a photo; can be interrupted between photos.

    A photo counts as done in the progress bar when the next one is asked for, so with all that is done with it.
    """
    images = checked_images(images, "image")
    progress = comfy.utils.ProgressBar(images.shape[0])
    for image in images:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield _portrait(analyzer, to_uint8(image), choice, crop)
        progress.update(1)


def _portrait(analyzer: FaceAnalyzer, photo: np.ndarray, choice: Choice, crop: bool) -> Portrait:
    faces = analyzer.detect(photo)
    chosen = choose_face(faces, choice.pick, choice.index, "image")
    ordered = order_faces(faces, choice.pick)
    picture, corner, landmarks, pose = photo, (0, 0), chosen.landmarks_106, chosen.pose
    if crop:
        x0, y0, x1, y1 = portrait_crop_box(chosen.box_xyxy, *photo.shape[:2])
        if (x1 - x0, y1 - y0) != (photo.shape[1], photo.shape[0]):
            picture, corner = photo[y0:y1, x0:x1], (x0, y0)
            landmarks, pose = _motion_in_crop(analyzer, picture, corner, chosen, photo.shape[:2])
    reader = analyzer.emotion_reader
    left, top, right, bottom = face_crop_box(chosen.box_xyxy, *photo.shape[:2])
    position = next(i for i, face in enumerate(ordered) if face is chosen)
    return Portrait(
        embedding=chosen.embedding,
        picture=picture,
        landmarks_106=landmarks,
        pose=pose,
        crop=photo[top:bottom, left:right].copy(),
        crop_box_xyxy=_in_landmark_pixels((left, top, right, bottom), corner, picture.shape[:2]),
        emotion=None if reader is None else likeliest_emotion(reader.read(photo, chosen)),
        preview=draw_faces(photo, ordered, [position]),
    )


def _motion_in_crop(
    analyzer: FaceAnalyzer,
    picture: np.ndarray,
    corner: tuple[int, int],
    chosen: DetectedFace,
    photo_size: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks and pose read in the crop, as the networks see a portrait; moved over where the face is lost there."""
    (x0, y0), (height, width) = corner, picture.shape[:2]
    box = np.asarray(chosen.box_xyxy) - (x0, y0, x0, y0)
    found = max(
        analyzer.detect(picture),
        key=lambda face: intersection_over_union(np.asarray(face.box_xyxy), box),
        default=None,
    )
    if found is not None and intersection_over_union(np.asarray(found.box_xyxy), box) > 0:
        return found.landmarks_106, found.pose
    pixels = chosen.landmarks_106 * (photo_size[1] / LANDMARK_SIZE, photo_size[0] / LANDMARK_SIZE) - (x0, y0)
    return (pixels * (LANDMARK_SIZE / width, LANDMARK_SIZE / height)).astype(np.float32), chosen.pose


def _in_landmark_pixels(
    box_xyxy: tuple[int, int, int, int], corner: tuple[int, int], size: Sequence[int]
) -> tuple[float, float, float, float]:
    """A box of the photo in pixels of the part at ``corner`` of ``size`` (height, width), resized to 512 x 512."""
    (x0, y0, x1, y1), (height, width) = box_xyxy, size
    across, down = LANDMARK_SIZE / width, LANDMARK_SIZE / height
    left, top = corner
    return ((x0 - left) * across, (y0 - top) * down, (x1 - left) * across, (y1 - top) * down)


def _shrink(crop: np.ndarray) -> np.ndarray:
    """At most 256 pixels a side, so that a face file stays small."""
    longest = max(crop.shape[:2])
    if longest <= CROP_SIDE:
        return crop
    size = tuple(max(round(side * CROP_SIDE / longest), 1) for side in crop.shape[:2])
    pixels = torch.from_numpy(crop).permute(2, 0, 1)[None].float()  # HWC -> BCHW
    small = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return small[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
