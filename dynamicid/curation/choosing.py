"""Which photos of a person: those that spread widest over expression, pose and light.

Chosen greedily, one photo after another, so that each adds most to

    F(S) = cells(S) / cells(all) + 1/4 * lights(S) / lights(all) + near(S)

where cells(S) counts the pairs of expression (seven words) and head pose (up, level, down x left, front, right) among
the photos S, lights(S) the pairs of brightness (dark, usual, bright) and side of the light (left, even, right), and
near(S) is facility location: the mean over all photos of the person, each weighted by how rare it is, of its
similarity exp(-d^2 / 2) to the nearest photo in S; d is the distance in expression, pose and light (``coordinates``).
F is monotone and submodular, so the greedy choice is within 1 - 1/e of the best (Nemhauser et al. 1978). Equal gains:
the sharper photo.
"""

from dataclasses import dataclass

import numpy as np

from .expression_reading import word_of

POSE_STEP = 10.0
LIGHT_WEIGHT = 0.25
MOST_CANDIDATES = 3000
# What counts as one unit of distance: half an expression, 15 degrees, a fifth of the brightness, a visible shadow.
_POSE_UNIT, _ROLL_UNIT, _LEVEL_UNIT, _SIDE_UNIT, _EXPRESSION_UNIT = 15.0, 30.0, 0.1, 0.08, 0.5
_LEVEL_STEP, _SIDE_STEP = 0.06, 0.04


@dataclass(frozen=True, eq=False)
class Photos:
    """The photos of one person.

    Attributes:
        expression: (n, 5) ``expression_reading.MEASURES``; rest: (5,) the same of this person at rest.
        pose: (n, 3) pitch, yaw, roll in degrees.
        level, side: (n,) as in ``quality.SkinLight``.
        sharpness: (n,).
        emotion: (n,) words that an emotion network read; None = the landmarks' words count.
    """

    expression: np.ndarray
    rest: np.ndarray
    pose: np.ndarray
    level: np.ndarray
    side: np.ndarray
    sharpness: np.ndarray
    emotion: np.ndarray | None = None

    def words(self) -> list[str]:
        """Each photo's expression in a word."""
        if self.emotion is not None:
            return self.emotion.tolist()
        return [word_of(values) for values in self.expression - self.rest]

    def coordinates(self) -> np.ndarray:
        """(n, 10) expression, pose and light in units that count alike."""
        pose = self.pose / np.array([_POSE_UNIT, _POSE_UNIT, _ROLL_UNIT])
        light = np.stack([self.level / _LEVEL_UNIT, self.side / _SIDE_UNIT], axis=1)
        return np.concatenate([(self.expression - self.rest) / _EXPRESSION_UNIT, pose, light], axis=1)


def pose_cell(pose: np.ndarray) -> tuple[int, int]:
    """(-1..1, -1..1): down, level, up; left, front, right; at 10 degrees, as the face prompt has it."""
    pitch, yaw = float(pose[0]), float(pose[1])
    return (int(pitch > POSE_STEP) - int(pitch < -POSE_STEP), int(yaw >= POSE_STEP) - int(yaw <= -POSE_STEP))


def light_cells(photos: Photos) -> list[tuple[int, int]]:
    """(-1..1, -1..1) a photo: dark, usual, bright for this person; left, even, right."""
    level = photos.level - np.median(photos.level)
    return list(zip(_thirds(level, _LEVEL_STEP), _thirds(photos.side, _SIDE_STEP), strict=True))


def choose(photos: Photos, count: int) -> list[int]:
    """Positions of at most ``count`` photos, in the order in which they were chosen."""
    total = len(photos.pose)
    candidates = np.arange(total)
    if total > MOST_CANDIDATES:
        # A film may hold very many photos of a person; the sharpest compete.
        candidates = np.sort(np.argsort(-photos.sharpness, kind="stable")[:MOST_CANDIDATES])
    coordinates = photos.coordinates()[candidates]
    square = (coordinates**2).sum(axis=1)
    distance = np.maximum(square[:, None] + square[None] - 2 * coordinates @ coordinates.T, 0)
    similar = np.exp(-distance / 2)
    rare = 1 / similar.sum(axis=1)
    words, lights = photos.words(), light_cells(photos)
    cells = _numbered([(words[i], pose_cell(photos.pose[i])) for i in candidates])
    lit = _numbered([lights[i] for i in candidates])
    order = _greedy(similar, rare / rare.sum(), cells, lit, photos.sharpness[candidates], count)
    return [int(candidates[i]) for i in order]


def _greedy(
    similar: np.ndarray, weights: np.ndarray, cells: np.ndarray, lit: np.ndarray, sharpness: np.ndarray, count: int
) -> list[int]:
    """Positions in the order in which they add most to F; see the module."""
    covered = np.zeros(len(cells))
    new_cell, new_light = np.ones(cells.max() + 1), np.ones(lit.max() + 1)
    chosen: list[int] = []
    free = np.ones(len(cells), dtype=bool)
    while len(chosen) < min(count, len(cells)):
        gain = weights @ np.maximum(similar - covered[:, None], 0)
        gain += new_cell[cells] / len(new_cell) + LIGHT_WEIGHT * new_light[lit] / len(new_light)
        # Rounded, so that equal gains are equal on every machine.
        best = int(np.lexsort((-sharpness, -np.round(np.where(free, gain, -1.0), 9)))[0])
        chosen.append(best)
        free[best] = False
        covered = np.maximum(covered, similar[:, best])
        new_cell[cells[best]] = new_light[lit[best]] = 0
    return chosen


def _numbered(cells: list) -> np.ndarray:
    known = {cell: number for number, cell in enumerate(sorted(set(cells)))}
    return np.array([known[cell] for cell in cells])


def _thirds(values: np.ndarray, step: float) -> list[int]:
    return ((values > step).astype(int) - (values < -step).astype(int)).tolist()
