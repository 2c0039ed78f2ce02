"""Stage 4: portraits, face prompts and landmark maps in the VariFace layout, and the same in WebDataset shards."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from webdataset.writer import TarWriter

from ..faces.landmarks import LANDMARK_COUNT, keypoint_map
from ..faces.prompts import describe_motion
from ..files.atomic import atomic_write, write_text
from ..files.pictures import decode
from ..files.skipped import BadSample
from ..files.tables import Row, read_rows, read_rows_where
from .listing import read_bytes
from .measuring import portrait_pixels
from .parts import part_path
from .settings import Settings

SCHEMA = pa.schema(
    {name: pa.string() for name in ("photo_id", "person", "file", "source", "consent", "licence", "prompt", "reason")}
    | {"expression": pa.string(), "light": pa.string(), "pose": pa.list_(pa.float32(), 3), "rank": pa.int32()}
)
_ABOUT = ("photo_id", "person", "source", "consent", "licence", "prompt")


def write_part(settings: Settings, number: int) -> list[Row]:
    """Writes the people of a part and their shard; one row of SCHEMA per chosen photo, in the order of the files.

    A photo that can no longer be read gets a row with the reason.
    """
    chosen = read_rows_where(part_path(settings.work, "chosen"), "part", [number])
    known = _known(settings, chosen)
    rows = []
    for row in sorted(chosen, key=lambda row: (row["person"], row["photo_id"])):
        listed, measured = known[row["photo_id"]]
        about = {
            "photo_id": row["photo_id"], "person": row["person"], "source": listed["source"], "rank": row["rank"],
            "consent": listed["consent"], "licence": listed["licence"], "expression": row["word"],
            "light": row["light"], "pose": measured["pose"], "prompt": "", "file": "", "reason": "",
        }  # fmt: skip
        try:
            image = decode(read_bytes(listed), settings.most_pixels)
            about["file"] = f"{row['person']}/{row['photo_id']}.png"
            about["prompt"] = _write_files(settings, about, image, measured)
        except BadSample as error:
            about |= {"file": "", "reason": str(error)}
        rows.append(about)
    write_shard(settings, number, rows)
    return rows


def files_of(folder: Path, file: str) -> tuple[Path, Path, Path]:
    """Portrait, face prompt and landmark map of a row's ``file``."""
    path = folder / file
    return path, path.with_suffix(".txt"), path.with_name(f"{path.stem}_landmark.png")


def shard_path(settings: Settings, number: int) -> Path:
    """The shard of a part."""
    return settings.shards / f"variface-{number:06d}.tar"


def write_shard(settings: Settings, number: int, rows: Sequence[Row]) -> None:
    """Portrait, landmark map, prompt and ``json`` (id, person, source, consent, licence) of each photo.

    The same rows give the same bytes.
    """
    with atomic_write(shard_path(settings, number)) as partial, TarWriter(str(partial), mtime=0) as tar:
        for row in rows:
            if not row["reason"]:
                portrait, prompt, landmarks = files_of(settings.variface, row["file"])
                tar.write({
                    "__key__": f"{row['person']}/{row['photo_id']}",
                    "png": portrait.read_bytes(),
                    "landmark.png": landmarks.read_bytes(),
                    "txt": prompt.read_bytes(),
                    "json": json.dumps({name: row[name] for name in _ABOUT}, sort_keys=True).encode(),
                })  # fmt: skip


def _known(settings: Settings, chosen: Sequence[Row]) -> dict[str, tuple[Row, Row]]:
    """Photo id -> its rows of the listing and of the measurements."""
    wanted = {row["photo_id"] for row in chosen}
    known = {}
    for number in sorted({row["listed_in"] for row in chosen}):
        listed = {row["photo_id"]: row for row in read_rows(part_path(settings.work, "listing", number))}
        columns = ("photo_id", "crop", "pose", "landmarks")
        for row in read_rows(part_path(settings.work, "measured", number), columns):
            if row["photo_id"] in wanted:
                known[row["photo_id"]] = (listed[row["photo_id"]], row)
    return known


def _write_files(settings: Settings, about: Row, image: np.ndarray, measured: Row) -> str:
    """Writes the three files of a portrait; returns the face prompt."""
    left, top, right, bottom = measured["crop"]
    if bottom > image.shape[0] or right > image.shape[1]:
        raise BadSample("the photo has changed")
    portrait = portrait_pixels(image, (left, top, right, bottom), settings.size)
    prompt = describe_motion(measured["pose"], about["expression"])
    dots = keypoint_map(np.array(measured["landmarks"]).reshape(LANDMARK_COUNT, 2))
    picture, text, landmarks = files_of(settings.variface, about["file"])
    with atomic_write(picture) as partial:
        portrait.save(partial, format="PNG", compress_level=3)
    with atomic_write(landmarks) as partial:
        Image.fromarray(((dots[0].numpy() + 1) * 127.5).astype(np.uint8)).save(partial, format="PNG")
    write_text(text, prompt + "\n")
    return prompt
