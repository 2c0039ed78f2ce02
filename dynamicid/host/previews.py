"""What the canvas may ask for by id after a run: people's crops and the motions that sliders start from.

Kept in memory, a few hundred at most, and nowhere else: as long as the host's cache holds the face or motion that it
belongs to; crops also end with the history. An id is made from the content, so it tells nothing and two tabs with the
same node numbers do not see each other's people.
"""

from __future__ import annotations

import hashlib
import io
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ..faces.face import Face
from ..faces.motion import Motion

_MOST = 256


@dataclass(frozen=True)
class Kept:
    """One person for the canvas: the motion that sliders start from, and the crop as PNG, where there are any."""

    motion: Motion | None
    png: bytes | None


_kept: OrderedDict[str, Kept] = OrderedDict()
_owners: dict[str, set[int]] = {}
"""Identities of the living owners of each id."""
# An owner may end at any place of the thread that holds the lock.
_lock = threading.RLock()


def keep(owner: Face | Motion, face: Face | None, motion: Motion | None = None) -> dict[str, Any]:
    """Remembers a person for the canvas.

    Args:
        owner: What the host's cache holds; it is forgotten with the last of its owners.
        face: Whose crop is shown, or None.
        motion: The motion that sliders start from, or None.

    Returns:
        For the node's ``ui``: ``id``; ``crop``, whether there is one; ``crop_box``, where it lies in the pixels of
        the landmarks, or None.
    """
    crop = None if face is None or face.crop is None else face.crop.numpy()
    digest = hashlib.sha256()
    if crop is not None:
        digest.update(repr(crop.shape).encode())
        digest.update(crop.tobytes())
    if motion is not None:
        for frame in motion.frames:
            digest.update(frame.landmarks_106.numpy().tobytes() + frame.pose.numpy().tobytes() + frame.prompt.encode())
    name = digest.hexdigest()[:32]
    kept = find(name)
    if kept is None or (kept.png is None and crop is not None):
        kept = Kept(motion, None if crop is None else _png(crop))
    with _lock:
        _kept[name] = kept
        owners = _owners.setdefault(name, set())
        if id(owner) not in owners:
            owners.add(id(owner))
            weakref.finalize(owner, _release, name, id(owner)).atexit = False
        _kept.move_to_end(name)
        while len(_kept) > _MOST:
            _kept.popitem(last=False)
    box = None if face is None or crop is None else face.crop_box_xyxy
    return {"id": name, "crop": crop is not None, "crop_box": None if box is None else list(box)}


def find(name: str) -> Kept | None:
    """What was kept under an id; None where it is unknown or forgotten."""
    with _lock:
        return _kept.get(name)


def forget_crops() -> None:
    """Removes all pictures of people; motions stay for the sliders."""
    with _lock:
        for name, kept in list(_kept.items()):
            if kept.motion is None:
                del _kept[name]
            else:
                _kept[name] = replace(kept, png=None)


def _release(name: str, owner: int) -> None:
    """One owner less."""
    with _lock:
        _owners[name].discard(owner)
        if not _owners[name]:
            del _owners[name]
            _kept.pop(name, None)


def _png(crop: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "PNG")
    return file.getvalue()
