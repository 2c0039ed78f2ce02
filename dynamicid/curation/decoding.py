"""Stage 1: which photos can be read, how large they are, and what they look like from afar."""

import hashlib

import imagehash
import numpy as np
import pyarrow as pa
from PIL import Image

from ..files.pictures import decode
from ..files.skipped import BadSample
from ..files.tables import Row, read_rows
from .listing import read_bytes
from .parts import part_path
from .settings import Settings

HASH_SIDE = 16
SCHEMA = pa.schema(
    {"photo_id": pa.string(), "reason": pa.string(), "width": pa.int32(), "height": pa.int32()}
    | {"sha256": pa.string(), "phash": pa.binary(HASH_SIDE * HASH_SIDE // 8)}
)
"""reason: why the photo fell out, "" if it did not."""


def decode_part(settings: Settings, number: int) -> list[Row]:
    """One row a photo of the listing's part."""
    return [_decode(row, settings) for row in read_rows(part_path(settings.work, "listing", number))]


def _decode(row: Row, settings: Settings) -> Row:
    empty = {"width": 0, "height": 0, "sha256": "", "phash": bytes(HASH_SIDE * HASH_SIDE // 8)}
    try:
        if settings.require_consent and not row["consent"]:
            raise BadSample("no consent recorded")
        if settings.labels != "none" and not row["label"] and not row["fault"]:
            raise BadSample("no label")
        content = read_bytes(row)
        image = decode(content, settings.most_pixels)
    except BadSample as error:
        return {"photo_id": row["photo_id"], "reason": str(error), **empty}
    seen = imagehash.phash(Image.fromarray(image), hash_size=HASH_SIDE)
    return {
        "photo_id": row["photo_id"], "reason": "", "width": image.shape[1], "height": image.shape[0],
        "sha256": hashlib.sha256(content).hexdigest(),
        "phash": np.packbits(seen.hash).tobytes(),
    }  # fmt: skip
