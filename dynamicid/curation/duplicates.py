"""The same picture twice: perceptual hashes that differ in a few bits. The one with most pixels stays."""

import faiss
import numpy as np
import pyarrow as pa

from ..files.tables import Row, read_table
from .parts import part_numbers, part_path
from .settings import Settings

SCHEMA = pa.schema({"photo_id": pa.string(), "duplicate_of": pa.string()})
_BLOCK = 1024


def find_duplicates(settings: Settings) -> list[Row]:
    """One row a photo that shows what another one shows, by id."""
    columns = ["photo_id", "reason", "width", "height", "phash"]
    ids, pixels, hashes = [], [], []
    for number in part_numbers(settings.work, "decoded"):
        for row in read_table(part_path(settings.work, "decoded", number), columns).to_pylist():
            if not row["reason"]:
                ids.append(row["photo_id"])
                pixels.append(row["width"] * row["height"])
                hashes.append(row["phash"])
    order = sorted(range(len(ids)), key=lambda i: (-pixels[i], ids[i]))
    first: dict[bytes, int] = {}
    for i in order:
        first.setdefault(hashes[i], i)
    kept = _representatives(list(first), settings.duplicate_bits)
    original = {hashed: ids[first[stays]] for hashed, stays in kept.items()}
    pairs = ((ids[i], original[hashes[i]]) for i in order)
    return sorted(
        ({"photo_id": one, "duplicate_of": other} for one, other in pairs if one != other),
        key=lambda row: row["photo_id"],
    )


def _representatives(hashes: list[bytes], bits: int) -> dict[bytes, bytes]:
    """For each of these different hashes the first one that stays and differs in ``bits`` or fewer; itself if it stays.

    A chain of ever so slightly different pictures therefore keeps one every ``bits``, as frames of a film should.
    """
    if not hashes:
        return {}
    packed = np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(len(hashes), -1)
    index = faiss.IndexBinaryFlat(packed.shape[1] * 8)
    stays = np.zeros(len(hashes), dtype=bool)
    result: dict[bytes, bytes] = {}
    index.add(packed)  # type: ignore[call-arg]
    for start in range(0, len(hashes), _BLOCK):
        # faiss counts strictly smaller distances.
        limits, _, near = index.range_search(packed[start : start + _BLOCK], bits + 1)  # type: ignore[call-arg]
        for offset in range(len(limits) - 1):
            i = start + offset
            earlier = near[limits[offset] : limits[offset + 1]]
            earlier = earlier[(earlier < i) & stays[earlier]]
            stays[i] = not len(earlier)
            result[hashes[i]] = hashes[i if stays[i] else int(earlier.min())]
    return result
