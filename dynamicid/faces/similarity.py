"""How much faces look like somebody: cosines of ArcFace embeddings."""

import itertools
import logging
from collections.abc import Sequence

import numpy as np

from .detected import DetectedFace

SAME_PERSON = 0.35
"""Cosine below which two photos count as of different people; what ``curate --threshold`` is by default."""
FOLLOWED = 0.2
"""Cosine below which a face is not the person followed through frames: turned heads look less like themselves."""
_MOST_PAIRS = 3
logger = logging.getLogger(__name__)


def mean_embedding(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """(512,) of unit length for a person of whom there are one or more embeddings of unit length."""
    mean = np.mean(embeddings, axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def warn_of_strangers(embeddings: Sequence[np.ndarray]) -> None:
    """A line in the log where photos that are to become one person look like different people.

    Args:
        embeddings: (512,) of unit length of each photo.
    """
    pairs = [
        (float(embeddings[a] @ embeddings[b]), f"{a + 1} and {b + 1}")
        for a, b in itertools.combinations(range(len(embeddings)), 2)
    ]
    unlike = sorted(pair for pair in pairs if pair[0] < SAME_PERSON)
    if unlike:
        named = ", ".join(f"{names} (cosine {cosine:.2f})" for cosine, names in unlike[:_MOST_PAIRS])
        more = f" and {len(unlike) - _MOST_PAIRS} more pairs" if len(unlike) > _MOST_PAIRS else ""
        logger.warning(
            "Photos of one person are averaged, but photos %s%s look like different people: their cosine is below %s.",
            named,
            more,
            SAME_PERSON,
        )


def most_similar(faces: Sequence[DetectedFace], embedding: np.ndarray) -> tuple[int, float] | None:
    """Position and cosine (-1..1) of the face most like an embedding (512,) of unit length; None without a face."""
    if not faces:
        return None
    cosines = [float(face.embedding @ embedding) for face in faces]
    best = int(np.argmax(cosines))
    return best, cosines[best]


def follow_face(faces: Sequence[DetectedFace], index: int, first: Sequence[DetectedFace]) -> int | None:
    """Position of one person's face in a frame; None where the frame does not show it.

    Args:
        faces: Of the frame, in order.
        index: Position of the person's face among ``first``.
        first: The faces of the frame in which the person was chosen, in order; empty while there is no such frame. The
            face most like that person's is taken; where that person was alone, the only face of a frame is theirs.
    """
    if not first:
        return index if index < len(faces) else None
    found = most_similar(faces, first[index].embedding)
    if found is None or (found[1] < FOLLOWED and (len(first) > 1 or len(faces) > 1)):
        return None
    return found[0]
