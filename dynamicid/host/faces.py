"""Encode Face and Motion from Image: ``faces.encoding`` with the host's image encoder, one photo after the other."""

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
from ..errors import DynamicIDError, check_range
from ..faces.analysis import FaceAnalyzer, load_face_analysis
from ..faces.blendshapes import chosen_faces, sliders_of
from ..faces.detected import DetectedFace, choose_faces, order_faces
from ..faces.drawing import draw_faces
from ..faces.emotions import load_emotion_reader
from ..faces.encoding import Portrait, encode_portraits, read_portrait
from ..faces.face import Face
from ..faces.motion import Motion
from ..faces.motion_drawing import draw_motion
from ..faces.motion_frames import LARGEST_SMOOTH, fill_gaps, smooth_motion
from ..faces.motion_sliders import move
from ..faces.packs import find_pack
from ..faces.similarity import follow_face
from . import folders
from .detection import detect_batch
from .encoders import check_clip_vision, clip_hidden_states, zero_hidden_states
from .images import checked_images, to_batch, to_image
from .slider_motion import own_motion

logger = logging.getLogger(__name__)
MOST_SHOWN = 64
"""Frames of a motion that a preview shows."""
_MOST_NAMED = 20


@dataclass(frozen=True)
class Choice:
    """Which of the faces in a photo is meant: ``pick`` orders them, ``index`` counts from 0."""

    pick: str
    index: int


def load_analyzer(pack: str, provider: str) -> FaceAnalyzer:
    """The face finder, with the emotion network that lies in ``models/dynamicid/emotion``, if there is one.

    Raises:
        DynamicIDError: No such pack, files missing or broken, or an emotion network that is not understood.
    """
    folders.check_name(pack, "pack")
    folders.check_name(provider, "provider")
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
    portraits, previews, states = [], [], []
    for portrait, preview in read_portraits(analyzer, images, choice, crop):
        portraits.append(portrait)
        previews.append(preview)
        states.append(clip_hidden_states(clip_vision, to_image(portrait.picture)))
    face = encode_portraits(weights.projector, portraits, torch.cat(states), zero_hidden_states(clip_vision))
    return face, to_batch(previews)


def motion_from_image(
    analyzer: FaceAnalyzer, images: Tensor, choice: Choice, smooth: float = 0.0
) -> tuple[Motion, Tensor]:
    """Expression and head pose of one face of each picture, in the same portrait crop that encoding uses.

    Args:
        analyzer: Face finder.
        images: IMAGE batch of F frames. Frames that do not show the person get a motion between their neighbours'.
        choice: Which face of the first frame that has it; in the others it is the face most like that one.
        smooth: Standard deviation in frames by which the motions are smoothed; 0 = as found.

    Returns:
        F motions, and a preview IMAGE of the first ``MOST_SHOWN`` pictures.

    Raises:
        DynamicIDError: Unusable pictures, or no such face in any of them.
    """
    check_range("smooth", smooth, 0, LARGEST_SMOOTH)
    images = checked_images(images, "image")
    if images.shape[0] == 1:
        portrait, preview = next(read_portraits(analyzer, images, choice, crop=True))
        return portrait.motion, to_image(preview)
    motions: list[Motion | None] = []
    previews = []
    first: list[DetectedFace] = []
    for photo, found in detect_batch(analyzer, images):
        faces = order_faces(found, choice.pick)
        position = follow_face(faces, choice.index, first)
        if position is None:
            motions.append(None)
        else:
            first = first or faces
            motions.append(read_portrait(analyzer, photo, faces[position], True, analyzer.emotion_reader).motion)
        if len(previews) < MOST_SHOWN:
            previews.append(draw_faces(photo, faces, [] if position is None else [position]))
    _tell_of_gaps(motions, choice.index)
    return smooth_motion(fill_gaps(motions), smooth), to_batch(previews)


def _tell_of_gaps(motions: Sequence[Motion | None], index: int) -> None:
    missing = [str(number) for number, motion in enumerate(motions, start=1) if motion is None]
    if len(missing) == len(motions):
        raise DynamicIDError(
            "image",
            f"None of the {len(motions)} pictures shows {'a face' if index == 0 else f'{index + 1} faces'}.",
            "Use pictures that show the face from the front or the side, sharp and at least 50 pixels high, or a lower "
            "index.",
        )
    if missing:
        logger.warning(
            "%d of %d pictures do not show the face (%s); their motion is interpolated.",
            len(missing),
            len(motions),
            ", ".join(missing[:_MOST_NAMED]) + (", …" if len(missing) > _MOST_NAMED else ""),
        )


def motion_from_landmarks(face_landmarks: Any, index: int, face: Face | None, smooth: float) -> tuple[Motion, Tensor]:
    """Expression and head pose from ComfyUI's own face landmarks, put on a person's face.

    Args:
        face_landmarks: ``FACE_LANDMARKS`` of F frames. Frames without the face get a motion between their neighbours'.
        index: Which face of each frame, counted from 0.
        face: The person whose proportions the landmarks get; None for an average face.
        smooth: Standard deviation in frames by which the motions are smoothed; 0 = as found.

    Returns:
        F motions, and a preview IMAGE of the first ``MOST_SHOWN``.

    Raises:
        DynamicIDError: Another format, no such face in any frame, or a face without landmarks or pose.
    """
    check_range("smooth", smooth, 0, LARGEST_SMOOTH)
    base = own_motion(face).frames[0]
    motions: list[Motion | None] = [
        None if found is None else move(base, sliders_of(found["blendshapes"], found["transformation_matrix"]))
        for found in chosen_faces(face_landmarks, index)
    ]
    _tell_of_gaps(motions, index)
    motion = smooth_motion(fill_gaps(motions), smooth)
    return motion, to_batch([draw_motion(face, base, frame) for frame in motion.frames[:MOST_SHOWN]])


def read_portraits(
    analyzer: FaceAnalyzer, images: Tensor, choice: Choice, crop: bool
) -> Iterator[tuple[Portrait, np.ndarray]]:
    """Detects and chooses one face a photo; can be interrupted between photos.

    All photos are searched first, so that an error names all that show no such face. In the progress bar a photo counts
    once when it was searched, and again when the next one is asked for, so with all that is done with it.

    Yields:
        The portrait, and the photo (height, width, 3) uint8 with its faces numbered and the chosen one highlighted.
    """
    images = checked_images(images, "image")
    progress = comfy.utils.ProgressBar(2 * images.shape[0])
    photos = list(detect_batch(analyzer, images, progress))
    all_chosen = choose_faces([faces for _, faces in photos], choice.pick, choice.index, "image")
    for (photo, faces), chosen in zip(photos, all_chosen, strict=True):
        comfy.model_management.throw_exception_if_processing_interrupted()
        portrait = read_portrait(analyzer, photo, chosen, crop, analyzer.emotion_reader)
        ordered = order_faces(faces, choice.pick)
        position = next(i for i, face in enumerate(ordered) if face is chosen)
        yield portrait, draw_faces(photo, ordered, [position])
        progress.update(1)
