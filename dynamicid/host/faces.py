"""Encode Face and Motion from Image: ``faces.encoding`` with the host's image encoder, one photo after the other."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.utils
import numpy as np
import torch
from torch import Tensor

from ..checkpoints.weights import DynamicIDWeights
from ..faces.analysis import FaceAnalyzer, load_face_analysis
from ..faces.detected import choose_faces, order_faces
from ..faces.drawing import draw_faces
from ..faces.emotions import load_emotion_reader
from ..faces.encoding import Portrait, encode_portraits, read_portrait
from ..faces.face import Face
from ..faces.motion import Motion
from ..faces.packs import find_pack
from . import folders
from .detection import detect_batch
from .encoders import check_clip_vision, clip_hidden_states, zero_hidden_states
from .images import checked_images, single_image, to_batch, to_image

logger = logging.getLogger(__name__)


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


def motion_from_image(analyzer: FaceAnalyzer, images: Tensor, choice: Choice) -> tuple[Motion, Tensor]:
    """Expression and head pose of the chosen face of one photo, in the same portrait crop that encoding uses.

    Returns:
        The motion and a preview IMAGE.

    Raises:
        DynamicIDError: Unusable picture, several pictures, or no such face.
    """
    portrait, preview = next(read_portraits(analyzer, single_image(images, "image"), choice, crop=True))
    return portrait.motion, to_image(preview)


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
