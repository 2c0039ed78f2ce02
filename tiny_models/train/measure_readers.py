"""How good the readers are, on pictures of held-out people that they have never seen."""

import numpy as np

from dynamicid.synthetic import EXPRESSIONS
from dynamicid.synthetic.colours import OBJECTS, SHIRTS, WALLS
from dynamicid.synthetic.scene import OBJECT_KINDS, PLACES

from ..places import SEED
from .reader_pictures import HIDDEN, ReaderPictures
from .readers import FaceReading, PictureReading, Readers

POSE_TOLERANCE = 15.0
"""Degrees that pitch and yaw may each be off."""
CROWDS = (2, 3, 50)
_DRAWS = 20


def measure_readers(readers: Readers, truth: ReaderPictures, pictures: np.ndarray) -> dict[str, float]:
    """Shares of right answers by name, and how well identities are told apart.

    Args:
        readers: In evaluation mode.
        truth: About the pictures.
        pictures: (N, 128, 128, 3) uint8, the pictures as they are shown.
    """
    readings = readers.eval().read(pictures)
    figures = _of_pictures(readings, truth)
    found = [_nearest(readings[int(row)], box) for row, box in zip(truth.picture, truth.box, strict=True)]
    count = sum(len(reading.faces) for reading in readings)
    seen = [face for face, reading in enumerate(found) if reading is not None]
    faces = [reading for reading in found if reading is not None]
    names = {"expression": tuple(EXPRESSIONS), "shirt": tuple(SHIRTS)}
    for name, values in names.items():
        said = [values.index(getattr(face, name)) for face in faces]
        figures[name] = _share(np.array(said) == getattr(truth, name)[seen])
    off = np.abs(np.stack([face.pose for face in faces]) - truth.pose[seen])
    figures["faces found"] = len(seen) / len(found)
    figures["false faces a picture"] = (count - len(seen)) / len(pictures)
    figures["number of faces found"] = _share(
        [len(reading.faces) == people for reading, people in zip(readings, truth.people, strict=True)]
    )
    figures["pitch: degrees off"], figures["yaw: degrees off"] = (float(value) for value in off.mean(0))
    figures["pose within 15 degrees"] = _share((off <= POSE_TOLERANCE).all(1))
    portraits = truth.picture[seen] >= truth.scene_count
    return {**figures, **_of_identities(np.stack([face.embedding for face in faces]), truth.person[seen], portraits)}


def _of_pictures(readings: list[PictureReading], truth: ReaderPictures) -> dict[str, float]:
    places, walls, colours = tuple(PLACES), tuple(WALLS), (None, *OBJECTS)
    read = np.array([[colours.index(reading.objects.get(kind)) for kind in OBJECT_KINDS] for reading in readings])
    there, wall = truth.objects > 0, truth.wall != HIDDEN
    return {
        "people": _share(np.array([reading.people for reading in readings]) == truth.people),
        "place": _share(np.array([places.index(reading.place) for reading in readings]) == truth.place),
        "wall": _share(np.array([walls.index(reading.wall) for reading in readings])[wall] == truth.wall[wall]),
        "object": _share(read[there] > 0),
        "object colour": _share(read[there] == truth.objects[there]),
        "objects that are not there, a picture": float((read[~there] > 0).sum() / len(readings)),
    }


def _nearest(reading: PictureReading, box: np.ndarray) -> FaceReading | None:
    """The face found at a box; None where none lies within half of its height."""
    middle, height = (box[:2] + box[2:]) / 2, box[3] - box[1]
    off = [(float(np.linalg.norm((np.array(f.box[:2]) + f.box[2:]) / 2 - middle)), f) for f in reading.faces]
    distance, face = min(off, key=lambda pair: pair[0], default=(np.inf, None))
    return face if distance < height / 2 else None


def _of_identities(embeddings: np.ndarray, person: np.ndarray, portraits: np.ndarray) -> dict[str, float]:
    """Verification and recognition of faces in scenes by portraits: (F, 64), (F,), (F,) -> figures."""
    cosine = embeddings[~portraits] @ embeddings[portraits].T
    same = person[~portraits][:, None] == person[portraits][None]
    own, other = cosine[same], cosine[~same]
    figures = {"identity: area under the curve": float((other.size - _ranks(own, other)).mean() / other.size)}
    figures["identity: cosine of the same"], figures["identity: cosine of others"] = (
        float(own.mean()),
        float(other.mean()),
    )
    random = np.random.default_rng(SEED)
    pairs = np.argwhere(same)
    for crowd in CROWDS:
        right = []
        for face, portrait in pairs:
            for _ in range(_DRAWS if crowd < 10 else 2):
                rivals = random.choice(np.flatnonzero(~same[face]), crowd - 1, replace=False)
                right.append(cosine[face, portrait] > cosine[face, rivals].max())
        figures[f"identity: right among {crowd}"] = _share(right)
    return figures


def _ranks(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How many of ``other`` are at least as large as each of ``own``."""
    ordered = np.sort(other)
    return len(ordered) - np.searchsorted(ordered, own, side="left")


def _share(right: object) -> float:
    return float(np.mean(np.asarray(right)))
