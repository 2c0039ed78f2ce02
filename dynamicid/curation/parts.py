"""Parts of stages: Parquet tables, each with a record of what it was made from.

A record is written after its table, so a part with a matching record is complete.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..files.atomic import write_text
from ..files.tables import Row, read_rows


def part_path(work: Path, stage: str, number: int = 0) -> Path:
    """The table of a stage's part; its record has the suffix ``.json``."""
    return work / stage / f"part-{number:06d}.parquet"


def part_numbers(work: Path, stage: str) -> list[int]:
    """Numbers of the parts that have a table, in order."""
    names = (re.fullmatch(r"part-(\d{6})", path.stem) for path in (work / stage).glob("part-*.parquet"))
    return sorted(int(name[1]) for name in names if name)


def stage_rows(work: Path, stage: str, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of all parts of a stage, part after part; all columns for None."""
    for number in part_numbers(work, stage):
        yield from read_rows(part_path(work, stage, number), columns)


def is_done(path: Path, made_from: str) -> bool:
    """Whether that part is complete and was computed from inputs with this fingerprint."""
    record = path.with_suffix(".json")
    if not (path.is_file() and record.is_file()):
        return False
    try:
        return json.loads(record.read_text(encoding="utf-8"))["made_from"] == made_from
    except (ValueError, KeyError, TypeError):
        return False


def write_record(path: Path, made_from: str, photos: int, seconds: float) -> Row:
    """Marks a part as complete; must be written after its table.

    Returns:
        The record: ``made_from``, ``photos``, ``seconds`` and ``peak_mb``, the peak memory of this process.
    """
    record = {"made_from": made_from, "photos": photos, "seconds": round(seconds, 3), "peak_mb": _peak_mb()}
    write_text(path.with_suffix(".json"), json.dumps(record))
    return record


def _peak_mb() -> int:
    """Peak memory of this process; 0 on Windows, which lacks the module."""
    try:
        import resource
    except ModuleNotFoundError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))
