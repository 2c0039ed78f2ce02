"""What an evaluation leaves behind as files to read on: rows as Parquet, the table as JSON and Markdown."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..files.atomic import atomic_write
from ..files.skipped import Skipped
from ..files.tables import write_rows
from .metrics import METRICS, Metric
from .scoring import Row
from .summary import BOOTSTRAPS, Summary, count_pictures, summaries

SCHEMA = pa.schema(
    {"item": pa.string(), "seed": pa.int64(), "picture": pa.string(), "people": pa.int8(), "place": pa.int8()}
    | {"person": pa.string(), "faces": pa.int32(), "face": pa.int32(), "expression": pa.string()}
    | {"read_expression": pa.string()}
    | {name: pa.float64() for name in ("pitch", "yaw", "read_pitch", "read_yaw", "best")}
    | {metric.key: pa.float64() for metric in METRICS}
)
"""One row a person of a picture. place: from the left. faces: found in the picture. face: whose numbers these are, from
the left, null = nobody. best: highest cosine with any face of the picture (the node Face Similarity)."""
_BAR = r"\|"


@dataclass(frozen=True)
class Setting:
    """What was measured and with what, for the record; all texts."""

    benchmark: str
    pictures: str
    photos: str
    face_pack: str
    emotion_model: str
    clip: str
    unpatched: str
    assignment: str

    def named(self) -> dict[str, str]:
        """The texts by names to be read."""
        return {name.replace("_", " "): text for name, text in asdict(self).items()}


@dataclass(frozen=True, eq=False)
class Result:
    """A finished evaluation.

    Attributes:
        setting: What was measured.
        rows: One a person of a picture.
        skipped: Everything that could not be used.
        groups: Group -> column -> summary.
    """

    setting: Setting
    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]
    groups: Mapping[str, Mapping[str, Summary]]

    @property
    def pictures(self) -> int:
        """How many were scored."""
        return count_pictures(self.rows)

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why things could not be used, the most frequent first."""
        counts = Counter(one.reason for one in self.skipped)
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))

    def measured(self) -> list[Metric]:
        """The metrics that have a number in some group; the others' networks were not given."""
        return [one for one in METRICS if any(group[one.key].mean is not None for group in self.groups.values())]


def make_result(setting: Setting, rows: Sequence[Row], skipped: Sequence[Skipped]) -> Result:
    """Adds the rows up."""
    return Result(setting, tuple(rows), tuple(sorted(skipped)), summaries(rows))


def write_tables(result: Result, out: Path) -> None:
    """Writes ``items.parquet``, ``table.json``, ``table.md`` and ``skipped.txt``; the same result, the same bytes."""
    write_rows(out / "items.parquet", [{name: row.get(name) for name in SCHEMA.names} for row in result.rows], SCHEMA)
    texts = {
        "table.json": json.dumps(as_json(result), indent=1, ensure_ascii=False) + "\n",
        "table.md": as_markdown(result),
        "skipped.txt": "".join(f"{one.name}\t{one.reason}\n" for one in result.skipped),
    }
    for name, text in texts.items():
        with atomic_write(out / name) as partial:
            partial.write_text(text, encoding="utf-8")


def as_json(result: Result) -> dict[str, Any]:
    """Everything but the rows."""
    return {
        "setting": asdict(result.setting),
        "pictures": result.pictures,
        "skipped": dict(result.reasons),
        "metrics": definitions(),
        "groups": {
            name: {key: asdict(summary) for key, summary in group.items()} for name, group in result.groups.items()
        },
    }


def definitions() -> dict[str, dict[str, str]]:
    """What the metrics are, by their keys."""
    return {one.key: {"name": one.name, "definition": one.definition, "differs": one.differs} for one in METRICS}


def as_markdown(result: Result) -> str:
    """The table with the definitions below it."""
    columns = list(result.groups)
    rows = [[one.name, *(said(result.groups[name][one.key]) for name in columns)] for one in result.measured()]
    lines = [f"# {result.pictures} pictures", "", *markdown_table(["metric", *columns], rows)]
    lines += ["", f"Mean [95 % interval, {BOOTSTRAPS} bootstraps over items] ± standard deviation over items.", ""]
    lines += markdown_definitions(result.measured())
    lines += ["", *(f"- {name}: {value}" for name, value in result.setting.named().items()), ""]
    lines += [f"- {count} x {reason}" for reason, count in result.reasons]
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def said(summary: Summary, digits: int = 3) -> str:
    """ "0.671 [0.650, 0.690] ± 0.101", or "-"."""
    if summary.mean is None:
        return "-"
    if summary.spread is None:
        return f"{summary.mean:.{digits}f} (one item)"
    return (
        f"{summary.mean:.{digits}f} [{summary.low:.{digits}f}, {summary.high:.{digits}f}] ± {summary.spread:.{digits}f}"
    )


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; bars in the cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |" for cells in lines]


def markdown_definitions(metrics: Sequence[Metric]) -> list[str]:
    """One line a metric: what it is, and how it may differ from the paper's."""
    return [
        f"- **{one.name}** ({'more' if one.higher else 'less'} is better): {one.definition} {one.differs}"
        for one in metrics
    ]
