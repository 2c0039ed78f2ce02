"""How much the people of a picture look like a reference, as ArcFace sees it."""

from __future__ import annotations

import comfy.utils
import numpy as np
from torch import Tensor

from ..errors import DynamicIDError
from ..faces.analysis import FaceAnalyzer
from ..faces.detected import choose_faces
from ..faces.drawing import draw_faces
from ..faces.similarity import mean_embedding, most_similar, warn_of_strangers
from .detection import detect_batch
from .images import checked_images, to_batch


def face_similarity(analyzer: FaceAnalyzer, reference: Tensor, images: Tensor) -> tuple[float, Tensor]:
    """Cosine similarity of the reference's largest face and the most similar face of each picture.

    Args:
        analyzer: Face finder.
        reference: IMAGE; several photos of one person are averaged.
        images: IMAGE batch to score.

    Returns:
        The mean over the batch (-1..1; a picture without a face counts 0) and the pictures with the best face marked.

    Raises:
        DynamicIDError: Unusable pictures, no face in a reference, or no face in any picture.
    """
    references, pictures = checked_images(reference, "reference"), checked_images(images, "image")
    progress = comfy.utils.ProgressBar(references.shape[0] + pictures.shape[0])
    detected = [faces for _, faces in detect_batch(analyzer, references, progress)]
    embeddings = [face.embedding for face in choose_faces(detected, "largest", 0, "reference")]
    warn_of_strangers(embeddings)
    mean = mean_embedding(embeddings)
    scores, previews = [], []
    for photo, faces in detect_batch(analyzer, pictures, progress):
        best = most_similar(faces, mean)
        scores.append(None if best is None else best[1])
        previews.append(draw_faces(photo, faces, None if best is None else [best[0]]))
    if all(score is None for score in scores):
        raise DynamicIDError("image", "No picture shows a face.", "Connect a picture with a visible face.")
    return float(np.mean([score or 0.0 for score in scores])), to_batch(previews)
