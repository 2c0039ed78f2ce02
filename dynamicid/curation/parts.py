"""Parts of stages: Parquet tables that are whole or not there, each with a record of what it was made from."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..files.atomic import translate_io_errors

Row = dict[str, Any]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A file to write, moved to ``path`` once the block ends well.

    Its name is its own, unlike ``files.atomic.atomic_write``'s: a worker that outlives a killed run for a moment
    may be writing the same part as a worker of the next run. Both write the same, and the later one stays.
    """
    with translate_io_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Removes what killed runs left half-written below ``folder``."""
    for path in folder.rglob(".*.partial"):
        path.unlink(missing_ok=True)


def part_path(work: Path, stage: str, number: int = 0) -> Path:
    """The table of a stage's part; its record has the suffix ``.json``."""
    return work / stage / f"part-{number:06d}.parquet"


def part_numbers(work: Path, stage: str) -> list[int]:
    """Numbers of the parts that have a table, in order."""
    names = (re.fullmatch(r"part-(\d{6})", path.stem) for path in (work / stage).glob("part-*.parquet"))
    return sorted(int(name[1]) for name in names if name)


def write_rows(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    """Writes a table."""
    with atomic_write(path) as partial:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), partial, compression="zstd")


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[Row]:
    """A table as one dictionary a row."""
    return read_table(path, columns).to_pylist()


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A table, or some of its columns."""
    return pq.ParquetFile(path).read(columns=list(columns) if columns else None)


def read_rows_where(path: Path, column: str, values: Sequence[Any]) -> list[Row]:
    """The rows of a large table that have one of these values; the rest never becomes Python objects."""
    table = read_table(path)
    wanted = pa.array(values, type=table.schema.field(column).type)
    return table.filter(pc.field(column).isin(wanted)).to_pylist()


def digest(*sources: Any) -> str:
    """Of files (their bytes) and of whatever JSON can say."""
    total = hashlib.sha256()
    for source in sources:
        if isinstance(source, Path):
            total.update(hashlib.sha256(source.read_bytes()).digest())
        else:
            total.update(json.dumps(source, sort_keys=True, default=str).encode())
    return total.hexdigest()


def is_done(path: Path, made_from: str) -> bool:
    """Whether that part was finished from exactly this."""
    record = path.with_suffix(".json")
    if not (path.is_file() and record.is_file()):
        return False
    try:
        return json.loads(record.read_text(encoding="utf-8"))["made_from"] == made_from
    except (ValueError, KeyError, TypeError):
        return False


def write_record(path: Path, made_from: str, photos: int, seconds: float) -> Row:
    """Says that a part is finished; to be written after its table. Returns the record."""
    record = {
        "made_from": made_from,
        "photos": photos,
        "seconds": round(seconds, 3),
        "peak_mb": _peak_mb(),
    }
    with atomic_write(path.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(record), encoding="utf-8")
    return record


def _peak_mb() -> int:
    """The most memory that this process has had; 0 on Windows, which lacks the module."""
    try:
        import resource
    except ModuleNotFoundError:
        return 0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(largest / (1e6 if sys.platform == "darwin" else 1e3))
