"""Check People: ``faces.checking`` with the host's pictures."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..attention.people import places_of
from ..faces.analysis import FaceAnalyzer
from ..faces.checking import best_picture, check_picture, describe_checks
from ..faces.drawing import draw_faces
from ..faces.regions import Region, stacked_embeddings
from .detection import detect_batch
from .images import checked_images, to_batch


def check_people(
    analyzer: FaceAnalyzer, images: Tensor, regions: Sequence[Region], threshold: float
) -> tuple[Tensor, bool, float, str, Tensor]:
    """Looks for everybody in every picture and chooses the best picture.

    Args:
        analyzer: Face finder.
        images: IMAGE batch of pictures of the same people at the same places.
        regions: Who should be in them, and where.
        threshold: Least cosine of everybody with themselves.

    Returns:
        The best picture as an IMAGE, whether it passes, the mean cosine of its people, the report, and all pictures
        with the faces of the people marked.

    Raises:
        DynamicIDError: Unusable pictures.
    """
    pictures = checked_images(images, "image")
    places, people = places_of(regions), stacked_embeddings(regions)
    checks, previews = [], []
    for photo, faces in detect_batch(analyzer, pictures):
        check = check_picture(places, people, faces, photo.shape[:2], threshold)
        checks.append(check)
        people_at = {person.face: str(n) for n, person in enumerate(check.people, 1) if person.face is not None}
        labels = [people_at.get(face, "?") for face in range(len(faces))]
        previews.append(draw_faces(photo, faces, list(people_at), labels=labels))
    best = best_picture(checks)
    report = describe_checks(checks, threshold)
    return (
        pictures[best : best + 1],
        checks[best].passes(threshold),
        checks[best].mean_cosine,
        report,
        to_batch(previews),
    )
