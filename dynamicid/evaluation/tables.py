"""Results as files for other programs: rows as Parquet, the table as JSON and Markdown."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..files.atomic import write_text
from ..files.skipped import Skipped, write_list
from ..files.tables import write_rows
from .metrics import METRICS, Metric
from .scoring import Row
from .summary import BOOTSTRAPS, MetricSummary, count_pictures, format_summary, summaries

SCHEMA = pa.schema(
    {"item": pa.string(), "seed": pa.int64(), "picture": pa.string(), "people": pa.int8(), "place": pa.int8()}
    | {"person": pa.string(), "faces": pa.int32(), "face": pa.int32(), "expression": pa.string()}
    | {"read_expression": pa.string()}
    | {name: pa.float64() for name in ("pitch", "yaw", "read_pitch", "read_yaw", "best")}
    | {metric.key: pa.float64() for metric in METRICS}
)
"""One row a person of a picture. place: from the left. faces: found in the picture. face: whose numbers these are, from
the left, null = nobody. best: highest cosine with any face of the picture (the node Face Similarity)."""
_SUMMARY_FIELDS = ("mean", "spread", "low", "high", "items", "pictures")


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
    judges: str = "none: one recogniser only"
    ground_truth: str = "none: no Sim(GT)"

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
    groups: Mapping[str, Mapping[str, MetricSummary]]

    @property
    def pictures(self) -> int:
        """How many were scored."""
        return count_pictures(self.rows)

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why things could not be used, the most frequent first."""
        counts = Counter(entry.reason for entry in self.skipped)
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))

    def measured(self) -> list[Metric]:
        """The metrics that have a number in some group; networks were not given for the others."""
        return [
            metric for metric in METRICS if any(group[metric.key].mean is not None for group in self.groups.values())
        ]


def make_result(setting: Setting, rows: Sequence[Row], skipped: Sequence[Skipped]) -> Result:
    """Summarises the rows."""
    return Result(setting, tuple(rows), tuple(sorted(skipped)), summaries(rows))


def write_tables(result: Result, out: Path) -> None:
    """Writes ``items.parquet``, ``table.json``, ``table.md`` and ``skipped.txt``; the same result, the same bytes."""
    write_rows(out / "items.parquet", [{name: row.get(name) for name in SCHEMA.names} for row in result.rows], SCHEMA)
    write_text(out / "table.json", json_text(as_json(result)))
    write_text(out / "table.md", as_markdown(result))
    write_list(out / "skipped.txt", result.skipped)


def json_text(content: Any) -> str:
    """JSON, indented."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def as_json(result: Result) -> dict[str, Any]:
    """Everything but the rows."""
    return {
        "setting": asdict(result.setting),
        "pictures": result.pictures,
        "skipped": dict(result.reasons),
        "metrics": definitions(),
        "groups": {
            name: {key: {field: getattr(summary, field) for field in _SUMMARY_FIELDS} for key, summary in group.items()}
            for name, group in result.groups.items()
        },
    }


def definitions() -> dict[str, dict[str, str]]:
    """What the metrics are, by their keys."""
    return {
        metric.key: {"name": metric.name, "definition": metric.definition, "differs": metric.differs}
        for metric in METRICS
    }


def as_markdown(result: Result) -> str:
    """The table with the definitions below it."""
    columns = list(result.groups)
    rows = [
        [metric.name, *(format_summary(result.groups[name][metric.key]) for name in columns)]
        for metric in result.measured()
    ]
    lines = [f"# {result.pictures} pictures", "", *markdown_table(["metric", *columns], rows)]
    lines += ["", f"Mean [95 % interval, {BOOTSTRAPS} bootstraps over items] ± standard deviation over items.", ""]
    lines += [*markdown_definitions(result.measured(), result.setting.named()), ""]
    lines += [f"- {count} x {reason}" for reason, count in result.reasons]
    return markdown_page(lines)


def markdown_page(lines: Sequence[str]) -> str:
    """The text of a file, without spaces at the lines' ends."""
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; bars in the cells are escaped."""
    escaped = r"\|"
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cell.replace('|', escaped) for cell in cells)} |" for cells in lines]


def markdown_definitions(metrics: Sequence[Metric], setting: Mapping[str, str]) -> list[str]:
    """One line a metric, what it is and how it may differ from the paper's; then what was measured with what."""
    lines = [
        f"- **{metric.name}** ({'more' if metric.higher else 'less'} is better): {metric.definition} {metric.differs}"
        for metric in metrics
    ]
    return [*lines, "", *(f"- {name}: {value}" for name, value in setting.items())]
