"""Stage 3, second half: the photos of each person that go into the data set."""

from collections import defaultdict

import numpy as np
import pyarrow as pa

from ..files.tables import Row, read_rows, read_table
from .choosing import Photos, choose, light_cells
from .parts import part_numbers, part_path
from .settings import Settings

FEW = 8
"""With fewer photos than this, a person's rest is that of all people: a median of a few says too little."""
COLUMNS = ("photo_id", "expression", "pose", "level", "side", "sharpness")
SCHEMA = pa.schema(
    {"photo_id": pa.string(), "person": pa.string(), "word": pa.string(), "light": pa.string()}
    | {"rank": pa.int32(), "listed_in": pa.int32(), "part": pa.int32()}
)
"""rank: order of the choice, -1 = not chosen. listed_in, part: parts of listing and portraits, -1 = none."""
_LEVELS, _SIDES = {-1: "dark", 0: "usual", 1: "bright"}, {-1: "left", 0: "even", 1: "right"}


def select_photos(settings: Settings) -> list[Row]:
    """One row a photo of people with enough photos, ordered by person and id."""
    person_of = {
        row["photo_id"]: row["person"] for row in read_rows(part_path(settings.work, "people")) if not row["reason"]
    }
    columns: dict[str, list] = defaultdict(list)
    listed_in: list[int] = []
    names = COLUMNS if settings.emotion_model is None else (*COLUMNS, "emotion")
    for number in part_numbers(settings.work, "measured"):
        for row in read_table(part_path(settings.work, "measured", number), names).to_pylist():
            if row["photo_id"] in person_of:
                listed_in.append(number)
                for name in names:
                    columns[name].append(row[name])
    ids = columns.pop("photo_id", [])
    if not ids:
        return []
    arrays = {name: np.array(values) for name, values in columns.items()}
    everyone = np.median(arrays["expression"], axis=0)
    by_person: dict[str, list[int]] = defaultdict(list)
    for i in sorted(range(len(ids)), key=ids.__getitem__):
        by_person[person_of[ids[i]]].append(i)
    rows = []
    for position, person in enumerate(sorted(by_person)):
        members = np.array(by_person[person])
        own = {name: values[members] for name, values in arrays.items()}
        rest = np.median(own["expression"], axis=0) if len(members) >= FEW else everyone
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
