"""Stage 3, second half: the photos of each person that vary most in expression, pose and light.

Photos are chosen greedily, one after another, so that each adds most to

    F(S) = cells(S) / cells(all) + 1/4 * lights(S) / lights(all) + near(S)

where cells(S) counts the pairs of expression (seven words) and head pose (up, level, down x left, front, right) among
the photos S, lights(S) the pairs of brightness (dark, usual, bright) and side of the light (left, even, right), and
near(S) is facility location: the mean over all photos of the person, each weighted by how rare it is, of its
similarity exp(-d^2 / 2) to the nearest photo in S; d is the distance in expression, pose and light (``coordinates``).
F is monotone and submodular, so the greedy choice is within 1 - 1/e of the best (Nemhauser et al. 1978). Of equal gains
the sharper photo wins.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..files.tables import Row, read_rows
from .expressions import name_expression
from .parts import part_numbers, part_path
from .settings import Settings

SCHEMA = pa.schema(
    {"photo_id": pa.string(), "person": pa.string(), "word": pa.string(), "light": pa.string()}
    | {"rank": pa.int32(), "listed_in": pa.int32(), "part": pa.int32()}
)
"""rank: order of the choice, -1 = not chosen. listed_in, part: parts of listing and portraits, -1 = none."""
FEWEST_FOR_REST = 8
"""A person with fewer photos than this gets the resting expression of all people; a median of so few is unreliable."""
POSE_STEP = 10.0
"""Degrees."""
LIGHT_WEIGHT = 0.25
MOST_CANDIDATES = 3000
# One unit of distance: half an expression, 15 degrees, a tenth of the brightness range, a visible shadow.
_POSE_UNIT, _ROLL_UNIT, _LEVEL_UNIT, _SIDE_UNIT, _EXPRESSION_UNIT = 15.0, 30.0, 0.1, 0.08, 0.5
_LEVEL_STEP, _SIDE_STEP = 0.06, 0.04
_LEVELS, _SIDES = {-1: "dark", 0: "usual", 1: "bright"}, {-1: "left", 0: "even", 1: "right"}
_COLUMNS = ("photo_id", "expression", "pose", "level", "side", "sharpness")


@dataclass(frozen=True, eq=False)
class Photos:
    """The photos of one person.

    Attributes:
        expression: (n, 5) ``expressions.MEASURES``.
        rest: (5,) the same of this person at rest.
        pose: (n, 3) pitch, yaw, roll in degrees.
        level: (n,) as in ``quality.SkinLight``.
        side: (n,) as in ``quality.SkinLight``.
        sharpness: (n,) as in ``quality.sharpness``.
        emotion: (n,) words of an emotion network; None = words come from ``expression``.
    """

    expression: np.ndarray
    rest: np.ndarray
    pose: np.ndarray
    level: np.ndarray
    side: np.ndarray
    sharpness: np.ndarray
    emotion: np.ndarray | None = None

    def words(self) -> list[str]:
        """The expression of each photo, one of ``faces.prompts.EMOTIONS``."""
        if self.emotion is not None:
            return self.emotion.tolist()
        return [name_expression(values) for values in self.expression - self.rest]

    def coordinates(self) -> np.ndarray:
        """(n, 10) expression, pose and light, each divided by its unit of distance."""
        pose = self.pose / np.array([_POSE_UNIT, _POSE_UNIT, _ROLL_UNIT])
        light = np.stack([self.level / _LEVEL_UNIT, self.side / _SIDE_UNIT], axis=1)
        return np.concatenate([(self.expression - self.rest) / _EXPRESSION_UNIT, pose, light], axis=1)


def choose_photos(settings: Settings) -> list[Row]:
    """One row of SCHEMA per photo of a person with enough photos, sorted by person and id."""
    people = read_rows(part_path(settings.work, "people"))
    person_of = {row["photo_id"]: row["person"] for row in people if not row["reason"]}
    columns: dict[str, list] = defaultdict(list)
    listed_in: list[int] = []
    names = _COLUMNS if settings.emotion_model is None else (*_COLUMNS, "emotion")
    for number in part_numbers(settings.work, "measured"):
        for row in read_rows(part_path(settings.work, "measured", number), names):
            if row["photo_id"] in person_of:
                listed_in.append(number)
                for name in names:
                    columns[name].append(row[name])
    ids = columns.pop("photo_id", [])
    if not ids:
        return []
    arrays = {name: np.array(values) for name, values in columns.items()}
    rest_of_all = np.median(arrays["expression"], axis=0)
    by_person: dict[str, list[int]] = defaultdict(list)
    for i in sorted(range(len(ids)), key=ids.__getitem__):
        by_person[person_of[ids[i]]].append(i)
    rows = []
    for position, person in enumerate(sorted(by_person)):
        members = np.array(by_person[person])
        own = {name: values[members] for name, values in arrays.items()}
        rest = np.median(own["expression"], axis=0) if len(members) >= FEWEST_FOR_REST else rest_of_all
        photos = Photos(rest=rest, **own)
        ranks = {int(members[i]): rank for rank, i in enumerate(choose(photos, settings.photos))}
        for i, word, light in zip(members.tolist(), photos.words(), light_cells(photos), strict=True):
            rank = ranks.get(i, -1)
            rows.append({
                "photo_id": ids[i], "person": person, "word": word, "rank": rank, "listed_in": listed_in[i],
                "light": f"{_LEVELS[light[0]]}, {_SIDES[light[1]]}",
                "part": position // settings.people_part_size if rank >= 0 else -1,
            })  # fmt: skip
    return rows


def pose_cell(pose: np.ndarray) -> tuple[int, int]:
    """(-1..1, -1..1): down, level, up and left, front, right, with the 10 degrees of the face prompt."""
    pitch, yaw = float(pose[0]), float(pose[1])
    return (int(pitch > POSE_STEP) - int(pitch < -POSE_STEP), int(yaw >= POSE_STEP) - int(yaw <= -POSE_STEP))


def light_cells(photos: Photos) -> list[tuple[int, int]]:
    """(-1..1, -1..1) per photo: dark, usual, bright for this person and lit from the left, evenly, from the right."""
    level = photos.level - np.median(photos.level)
    return list(zip(_thirds(level, _LEVEL_STEP), _thirds(photos.side, _SIDE_STEP), strict=True))


def choose(photos: Photos, count: int) -> list[int]:
    """Indices of at most ``count`` photos, in the order of the choice."""
    total = len(photos.pose)
    candidates = np.arange(total)
    if total > MOST_CANDIDATES:
        # A film may hold very many frames of a person, and the matrix below is quadratic: keep the sharpest.
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
    """Indices in the order in which they add most to F; see the module."""
    covered = np.zeros(len(cells))
    new_cell, new_light = np.ones(cells.max() + 1), np.ones(lit.max() + 1)
    chosen: list[int] = []
    free = np.ones(len(cells), dtype=bool)
    while len(chosen) < min(count, len(cells)):
        gain = weights @ np.maximum(similar - covered[:, None], 0)
        gain += new_cell[cells] / len(new_cell) + LIGHT_WEIGHT * new_light[lit] / len(new_light)
        # Rounded, so that ties are ties on every machine.
        best = int(np.lexsort((-sharpness, -np.round(np.where(free, gain, -1.0), 9)))[0])
        chosen.append(best)
        free[best] = False
        covered = np.maximum(covered, similar[:, best])
        new_cell[cells[best]] = new_light[lit[best]] = 0
    return chosen


def _numbered(cells: list) -> np.ndarray:
    numbers = {cell: number for number, cell in enumerate(sorted(set(cells)))}
    return np.array([numbers[cell] for cell in cells])


def _thirds(values: np.ndarray, step: float) -> list[int]:
    return ((values > step).astype(int) - (values < -step).astype(int)).tolist()
