"""A linear probe: expression and pose predicted from identity tokens by ridge regression.

The scores of pictures depend on IMR, SAA and base model together; the probe measures the IMR alone. T tokens of one
face, N faces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from dynamicid.faces.face import Face
from dynamicid.synthetic import EXPRESSIONS, Split, number_in, render_portrait, sample_portrait
from dynamicid.synthetic.motion import DrawnMotion

from ..places import PICTURE_SIZE, SEED
from ..train.classifier_accuracy import POSE_TOLERANCE
from .subjects import EncodedSubject, SubjectEncoder

FIRST_PORTRAIT = 700_000
"""Position in the training split; all training uses lower ones."""
PORTRAITS = 1500
PENALTY = 10.0
POSE_SCALE = 20.0
"""Degrees that count as much as a right expression."""
MEANINGS = {
    "expr": "share of tokens from which the target's expression is read",
    "pose": "share of tokens from which pitch and yaw are both read within 15 degrees of the target's",
    "distance": "squared distance to the tokens of a photo in the target motion, over that of the photo's own tokens",
}
_WORDS = tuple(EXPRESSIONS)


@dataclass(frozen=True, eq=False)
class MotionProbe:
    """A linear regression on standardised tokens.

    Attributes:
        mean, scale: (T * width,) mean and standard deviation of the tokens of the fit.
        weights: (T * width + 1, 9): seven expressions, pitch and yaw over POSE_SCALE.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    def predict(self, tokens: np.ndarray) -> tuple[list[str], np.ndarray]:
        """(N, T * width) -> N expressions, and (N, 2) pitch and yaw in degrees."""
        values = _with_bias((tokens - self.mean) / self.scale) @ self.weights
        return [_WORDS[place] for place in values[:, :-2].argmax(axis=1)], values[:, -2:] * POSE_SCALE


def fit_probe(tokens: np.ndarray, motions: Sequence[DrawnMotion]) -> MotionProbe:
    """Ridge regression of the motions on the tokens (N, T * width)."""
    mean, scale = tokens.mean(axis=0), tokens.std(axis=0) + 1e-6
    inputs = _with_bias((tokens - mean) / scale)
    targets = np.array([
        [*(motion.expression == word for word in _WORDS), motion.pitch / POSE_SCALE, motion.yaw / POSE_SCALE]
        for motion in motions
    ])  # fmt: skip
    penalty = PENALTY * np.eye(inputs.shape[1])
    penalty[-1, -1] = 0
    return MotionProbe(mean, scale, np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets))


def train_probe(encoder: SubjectEncoder, portraits: int = PORTRAITS) -> MotionProbe:
    """The probe fitted to portraits of training people in motions of the training split."""
    tokens, motions = [], []
    for position in tqdm(range(portraits), unit="portrait", desc="token probe"):
        portrait = sample_portrait(SEED, number_in(Split.train, FIRST_PORTRAIT + position))
        face = encoder.face_in(render_portrait(portrait, PICTURE_SIZE)[0])
        if face is not None:
            tokens.append(_flat(face))
            motions.append(portrait.motion)
    return fit_probe(np.stack(tokens), motions)


def probe_scores(
    probe: MotionProbe, subjects: Sequence[EncodedSubject], targets: Sequence[DrawnMotion]
) -> dict[str, dict[str, float]]:
    """Scores of each kind of tokens: "plain", "edited", "ideal" -> the scores of MEANINGS.

    Args:
        probe: A fitted probe.
        subjects: Encoded subjects, no face missed.
        targets: Their target motions.
    """
    kinds = {
        "plain": [subject.plain for subject in subjects],
        "edited": [subject.edited for subject in subjects],
        "ideal": [subject.ideal for subject in subjects],
    }
    flat = {
        kind: np.stack([_flat(face) for face in faces if face is not None])
        for kind, faces in kinds.items()
        if None not in faces
    }
    distance = _squared_distance(flat["plain"], flat["ideal"])
    angles = np.array([[motion.pitch, motion.yaw] for motion in targets])
    rows = {}
    for kind, tokens in flat.items():
        words, poses = probe.predict(tokens)
        rows[kind] = {
            "expr": float(np.mean([word == motion.expression for word, motion in zip(words, targets, strict=True)])),
            "pose": float((np.abs(poses - angles) <= POSE_TOLERANCE).all(axis=1).mean()),
            "distance": float(_squared_distance(tokens, flat["ideal"]) / distance),
        }
    return rows


def _flat(face: Face) -> np.ndarray:
    return face.id_tokens.to(torch.float64).flatten().numpy()


def _with_bias(inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)


def _squared_distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum(axis=1).mean())
