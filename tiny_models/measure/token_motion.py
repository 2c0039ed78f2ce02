"""What identity tokens say of expression and pose, whatever the UNet makes of it: read by ridge regression.

The readers look at pictures and so at IMR, SAA and base model together; this looks at the IMR alone. Legend: T tokens
of one face, N faces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from dynamicid.faces.face import Face
from dynamicid.synthetic import EXPRESSIONS, Split, number_in, render_portrait, sample_portrait
from dynamicid.synthetic.motion import Motion

from ..places import PICTURE_SIZE, SEED
from ..train.measure_readers import POSE_TOLERANCE
from .sitters import EncodedSitter, SitterEncoder

FIRST_PORTRAIT = 700_000
"""Position in the training split; all training of the family used lower ones."""
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
    """A linear reading of standardised tokens.

    Attributes:
        mean, scale: (T * width,) of the tokens that it was fitted to.
        weights: (T * width + 1, 9): seven expressions, pitch and yaw over POSE_SCALE.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    def read(self, tokens: np.ndarray) -> tuple[list[str], np.ndarray]:
        """(N, T * width) -> N expressions, and (N, 2) pitch and yaw in degrees."""
        said = _with_one((tokens - self.mean) / self.scale) @ self.weights
        return [_WORDS[place] for place in said[:, :-2].argmax(axis=1)], said[:, -2:] * POSE_SCALE


def fit_probe(tokens: np.ndarray, motions: Sequence[Motion]) -> MotionProbe:
    """Ridge regression of what the faces do on their tokens (N, T * width)."""
    mean, scale = tokens.mean(axis=0), tokens.std(axis=0) + 1e-6
    inputs = _with_one((tokens - mean) / scale)
    wanted = np.array([
        [*(motion.expression == word for word in _WORDS), motion.pitch / POSE_SCALE, motion.yaw / POSE_SCALE]
        for motion in motions
    ])  # fmt: skip
    penalty = PENALTY * np.eye(inputs.shape[1])
    penalty[-1, -1] = 0
    return MotionProbe(mean, scale, np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ wanted))


def trained_probe(encoder: SitterEncoder, portraits: int = PORTRAITS) -> MotionProbe:
    """Fitted to portraits of people that stage 2 may have seen, in motions of the training split."""
    tokens, motions = [], []
    for position in tqdm(range(portraits), unit="portrait", desc="motion in the tokens"):
        portrait = sample_portrait(SEED, number_in(Split.train, FIRST_PORTRAIT + position))
        face = encoder.face_in(render_portrait(portrait, PICTURE_SIZE)[0])
        if face is not None:
            tokens.append(_flat(face))
            motions.append(portrait.motion)
    return fit_probe(np.stack(tokens), motions)


def motion_in_tokens(
    probe: MotionProbe, sitters: Sequence[EncodedSitter], targets: Sequence[Motion]
) -> dict[str, dict[str, float]]:
    """What each kind of tokens says of the targets: "plain", "edited", "ideal" -> MEANINGS' scores.

    Args:
        probe: Reads them.
        sitters: Encoded; none with a face that was missed.
        targets: Their target motions.
    """
    kinds = {
        "plain": [one.plain for one in sitters],
        "edited": [one.edited for one in sitters],
        "ideal": [one.ideal for one in sitters],
    }
    flat = {
        kind: np.stack([_flat(face) for face in faces if face is not None])
        for kind, faces in kinds.items()
        if None not in faces
    }
    apart = _squared(flat["plain"], flat["ideal"])
    wanted = np.array([[motion.pitch, motion.yaw] for motion in targets])
    rows = {}
    for kind, tokens in flat.items():
        words, poses = probe.read(tokens)
        rows[kind] = {
            "expr": float(np.mean([word == motion.expression for word, motion in zip(words, targets, strict=True)])),
            "pose": float((np.abs(poses - wanted) <= POSE_TOLERANCE).all(axis=1).mean()),
            "distance": float(_squared(tokens, flat["ideal"]) / apart),
        }
    return rows


def _flat(face: Face) -> np.ndarray:
    return face.id_tokens.to(torch.float64).flatten().numpy()


def _with_one(inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)


def _squared(one: np.ndarray, other: np.ndarray) -> float:
    return float(((one - other) ** 2).sum(axis=1).mean())
