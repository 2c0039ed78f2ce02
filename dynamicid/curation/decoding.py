"""Size, checksum and perceptual hash of each photo; and which photos show the same picture."""

import faiss
import imagehash
import numpy as np
import pyarrow as pa
from PIL import Image

from ..files.digests import sha256_hex
from ..files.pictures import decode
from ..files.skipped import BadSample
from ..files.tables import Row, read_rows
from .listing import read_bytes
from .parts import part_path, stage_rows
from .settings import Settings

HASH_SIDE = 16
_HASH_BITS = HASH_SIDE * HASH_SIDE
SCHEMA = pa.schema(
    {"photo_id": pa.string(), "reason": pa.string(), "width": pa.int32(), "height": pa.int32()}
    | {"sha256": pa.string(), "phash": pa.binary(_HASH_BITS // 8)}
)
"""reason: why the photo is rejected, "" if it is not."""
DUPLICATES_SCHEMA = pa.schema({"photo_id": pa.string(), "duplicate_of": pa.string()})
_BLOCK = 1024
_SUBSTRING_BITS = (16, 32)
"""Shorter substrings are equal in too many hashes; longer ones need not be compared."""


def decode_part(settings: Settings, number: int) -> list[Row]:
    """One row of SCHEMA per photo of a part of the listing."""
    return [_decode(row, settings) for row in read_rows(part_path(settings.work, "listing", number))]


def _decode(row: Row, settings: Settings) -> Row:
    empty = {"width": 0, "height": 0, "sha256": "", "phash": bytes(_HASH_BITS // 8)}
    try:
        if settings.require_consent and not row["consent"]:
            raise BadSample("no consent recorded")
        if settings.labels != "none" and not row["label"] and not row["fault"]:
            raise BadSample("no label")
        content = read_bytes(row)
        image = decode(content, settings.most_pixels)
    except BadSample as error:
        return {"photo_id": row["photo_id"], "reason": str(error), **empty}
    phash = imagehash.phash(Image.fromarray(image), hash_size=HASH_SIDE)
    return {
        "photo_id": row["photo_id"], "reason": "", "width": image.shape[1], "height": image.shape[0],
        "sha256": sha256_hex(content), "phash": np.packbits(phash.hash).tobytes(),
    }  # fmt: skip


def find_duplicates(settings: Settings) -> list[Row]:
    """One row of DUPLICATES_SCHEMA per photo that shows the picture of another one, sorted by id.

    Of pictures whose perceptual hashes differ in at most ``duplicate_bits`` bits, one is kept: of those that were not
    rejected for their quality, the one with most pixels.
    """
    measured = stage_rows(settings.work, "measured", ("photo_id", "reason"))
    rejected = {row["photo_id"] for row in measured if row["reason"]}
    columns = ["photo_id", "reason", "width", "height", "phash"]
    ids, pixels, hashes = [], [], []
    for row in stage_rows(settings.work, "decoded", columns):
        if not row["reason"]:
            ids.append(row["photo_id"])
            pixels.append(row["width"] * row["height"])
            hashes.append(row["phash"])
    order = sorted(range(len(ids)), key=lambda i: (ids[i] in rejected, -pixels[i], ids[i]))
    first: dict[bytes, int] = {}
    for i in order:
        first.setdefault(hashes[i], i)
    kept = _representatives(list(first), settings.duplicate_bits)
    original = {phash: ids[first[representative]] for phash, representative in kept.items()}
    pairs = ((ids[i], original[hashes[i]]) for i in order)
    rows = [{"photo_id": photo_id, "duplicate_of": other} for photo_id, other in pairs if photo_id != other]
    return sorted(rows, key=lambda row: row["photo_id"])


def _representatives(hashes: list[bytes], bits: int) -> dict[bytes, bytes]:
    """Maps each of these distinct hashes to the first kept hash that differs in at most ``bits`` bits.

    A hash without such a predecessor is kept and maps to itself. Of a chain of slowly changing pictures, such as the
    frames of a film, one picture every ``bits`` bits is kept.
    """
    if not hashes:
        return {}
    packed = np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(len(hashes), -1)
    index = _hash_index(bits)
    is_kept = np.zeros(len(hashes), dtype=bool)
    result: dict[bytes, bytes] = {}
    index.add(packed)  # type: ignore[call-arg]
    for start in range(0, len(hashes), _BLOCK):
        # range_search returns distances that are strictly smaller.
        limits, _, near = index.range_search(packed[start : start + _BLOCK], bits + 1)  # type: ignore[call-arg]
        for offset in range(len(limits) - 1):
            i = start + offset
            earlier = near[limits[offset] : limits[offset + 1]]
            earlier = earlier[(earlier < i) & is_kept[earlier]]
            is_kept[i] = not len(earlier)
            result[hashes[i]] = hashes[i if is_kept[i] else int(earlier.min())]
    return result


def _hash_index(bits: int) -> faiss.IndexBinary:
    """An exact index of hashes that differ in at most ``bits`` bits.

    Of ``bits`` + 1 substrings of two such hashes at least one is equal, so that only hashes with an equal substring are
    compared (multi-index hashing, Norouzi et al. 2012). Where the substrings would be too short, all are compared.
    """
    shortest, longest = _SUBSTRING_BITS
    length = _HASH_BITS // (bits + 1)
    if length < shortest:
        return faiss.IndexBinaryFlat(_HASH_BITS)
    return faiss.IndexBinaryMultiHash(_HASH_BITS, bits + 1, min(length, longest))
