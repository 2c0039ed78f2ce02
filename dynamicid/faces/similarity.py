"""How much faces look like somebody: cosines of ArcFace embeddings."""

from collections.abc import Sequence

import numpy as np

from .detected import DetectedFace


def mean_embedding(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """(512,) of unit length for a person of whom there are one or more embeddings of unit length."""
    mean = np.mean(embeddings, axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def most_similar(faces: Sequence[DetectedFace], embedding: np.ndarray) -> tuple[int, float] | None:
    """Position and cosine (-1..1) of the face most like an embedding (512,) of unit length; None without a face."""
    if not faces:
        return None
    cosines = [float(face.embedding @ embedding) for face in faces]
    best = int(np.argmax(cosines))
    return best, cosines[best]
