"""The accuracy of the classifiers on pictures of held-out people."""

import numpy as np

from dynamicid.synthetic import EXPRESSIONS
from dynamicid.synthetic.colours import OBJECTS, SHIRTS, WALLS
from dynamicid.synthetic.scene import OBJECT_KINDS, PLACES

from ..places import SEED
from .classifier_dataset import ClassifierPictures
from .classifiers import Classifiers, FacePrediction, ScenePrediction
from .face_dataset import IGNORED

POSE_TOLERANCE = 15.0
"""Largest error of pitch and yaw in degrees that counts as right."""
CROWDS = (2, 3, 50)
_DRAWS = 20


def measure_accuracy(classifiers: Classifiers, truth: ClassifierPictures, pictures: np.ndarray) -> dict[str, float]:
    """Accuracies by name, and how well identities are told apart.

    Args:
        classifiers: The networks.
        truth: Labels of the pictures.
        pictures: (N, 128, 128, 3) uint8, the pictures, or processed versions of them.
    """
    predictions = classifiers.eval().predict(pictures)
    figures = _scene_accuracies(predictions, truth)
    matched = [_nearest(predictions[int(row)], box) for row, box in zip(truth.picture, truth.box, strict=True)]
    count = sum(len(prediction.faces) for prediction in predictions)
    seen = [face for face, prediction in enumerate(matched) if prediction is not None]
    faces = [prediction for prediction in matched if prediction is not None]
    names = {"expression": tuple(EXPRESSIONS), "shirt": tuple(SHIRTS)}
    for name, values in names.items():
        predicted = [values.index(getattr(face, name)) for face in faces]
        figures[name] = _share(np.array(predicted) == getattr(truth, name)[seen])
    error = np.abs(np.stack([face.pose for face in faces]) - truth.pose[seen])
    figures["faces found"] = len(seen) / len(matched)
    figures["false faces a picture"] = (count - len(seen)) / len(pictures)
    figures["number of faces found"] = _share(
        [len(prediction.faces) == people for prediction, people in zip(predictions, truth.people, strict=True)]
    )
    figures["pitch: degrees off"], figures["yaw: degrees off"] = (float(value) for value in error.mean(0))
    figures["pose within 15 degrees"] = _share((error <= POSE_TOLERANCE).all(1))
    portraits = truth.picture[seen] >= truth.scene_count
    return {
        **figures,
        **_identity_accuracies(np.stack([face.embedding for face in faces]), truth.person[seen], portraits),
    }


def _scene_accuracies(predictions: list[ScenePrediction], truth: ClassifierPictures) -> dict[str, float]:
    places, walls, colours = tuple(PLACES), tuple(WALLS), (None, *OBJECTS)
    predicted = np.array(
        [[colours.index(prediction.objects.get(kind)) for kind in OBJECT_KINDS] for prediction in predictions]
    )
    there, wall = truth.objects > 0, truth.wall != IGNORED
    return {
        "people": _share(np.array([prediction.people for prediction in predictions]) == truth.people),
        "place": _share(np.array([places.index(prediction.place) for prediction in predictions]) == truth.place),
        "wall": _share(np.array([walls.index(scene.wall) for scene in predictions])[wall] == truth.wall[wall]),
        "object": _share(predicted[there] > 0),
        "object colour": _share(predicted[there] == truth.objects[there]),
        "objects that are not there, a picture": float((predicted[~there] > 0).sum() / len(predictions)),
    }


def _nearest(prediction: ScenePrediction, box: np.ndarray) -> FacePrediction | None:
    """The face found at a box; None where none lies within half of its height."""
    middle, height = (box[:2] + box[2:]) / 2, box[3] - box[1]
    distances = [(float(np.linalg.norm((np.array(f.box[:2]) + f.box[2:]) / 2 - middle)), f) for f in prediction.faces]
    distance, face = min(distances, key=lambda pair: pair[0], default=(np.inf, None))
    return face if distance < height / 2 else None


def _identity_accuracies(embeddings: np.ndarray, person: np.ndarray, portraits: np.ndarray) -> dict[str, float]:
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
