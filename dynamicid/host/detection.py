"""Faces of a batch of pictures, found once: a second look at the same pictures takes them from memory."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from weakref import WeakKeyDictionary

import comfy.model_management
import comfy.utils
import numpy as np
from torch import Tensor

from ..faces.analysis import FaceAnalyzer
from ..faces.detected import DetectedFace
from .images import to_uint8

_MOST = 64
_recent: WeakKeyDictionary[FaceAnalyzer, OrderedDict[bytes, list[DetectedFace]]] = WeakKeyDictionary()
"""What each face finder found last, by the digest of the picture; gone when the host lets go of the finder."""


def detect_batch(
    analyzer: FaceAnalyzer, images: Tensor, progress: comfy.utils.ProgressBar | None = None
) -> Iterator[tuple[np.ndarray, list[DetectedFace]]]:
    """Finds the faces of one picture after the other; shows progress and can be interrupted between pictures.

    Args:
        analyzer: Face finder.
        images: (B, height, width, 3) from ``checked_images``.
        progress: Counts on by one a picture; None = a progress bar of these pictures alone.

    Yields:
        The picture (height, width, 3) uint8, and its faces from left to right.
    """
    known = _recent.setdefault(analyzer, OrderedDict())
    counter = progress or comfy.utils.ProgressBar(images.shape[0])
    for image in images:
        comfy.model_management.throw_exception_if_processing_interrupted()
        picture = to_uint8(image)
        digest = hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).digest()
        if digest not in known:
            known[digest] = analyzer.detect(picture)
        known.move_to_end(digest)
        while len(known) > _MOST:
            known.popitem(last=False)
        yield picture, known[digest]
        counter.update(1)
