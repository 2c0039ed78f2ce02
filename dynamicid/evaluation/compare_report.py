"""A comparison as JSON, Markdown and one HTML file; the same runs give the same bytes."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import DynamicIDError
from ..files.atomic import atomic_write
from .compare import Column, Comparison, Group
from .metrics import Metric
from .plots import COLOURS, runs_plot
from .report import rendered
from .summary import BOOTSTRAPS, Estimate, count_pictures
from .tables import definitions, markdown_definitions, markdown_table


def check_out(out: Path, folders: Sequence[Path]) -> None:
    """Sees to it that no run is written into.

    Raises:
        DynamicIDError: ``out`` is one of the runs' folders, or lies inside one.
    """
    place = out.resolve()
    for folder in folders:
        if folder.resolve() in (place, *place.parents):
            found = f"It is the run {folder}, or lies inside it."
            raise DynamicIDError("--out", found, "Name a folder of its own.")


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Writes ``compare.json``, ``compare.md`` and ``compare.html``.

    Raises:
        DynamicIDError: The folder cannot be written.
    """
    texts = {
        "compare.json": json.dumps(as_json(comparison), indent=1, ensure_ascii=False) + "\n",
        "compare.md": as_markdown(comparison),
        "compare.html": as_html(comparison),
    }
    for name, text in texts.items():
        with atomic_write(out / name) as partial:
            partial.write_text(text, encoding="utf-8")


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything, by the runs' names."""
    return {
        "runs": [
            {"name": run.name, "setting": asdict(run.setting), "pictures": count_pictures(run.rows), "left_out": left}
            for run, left in zip(comparison.runs, comparison.left_out, strict=True)
        ],
        "metrics": definitions(),
        "groups": {name: _group_json(comparison, group) for name, group in comparison.groups.items()},
    }


def as_markdown(comparison: Comparison) -> str:
    """Tables, the definitions below them, and what was measured with what."""
    names = [run.name for run in comparison.runs]
    runs = [[run["name"], *map(str, run["counts"])] for run in _runs(comparison)]
    lines = [f"# {len(names)} runs side by side", "", *markdown_table(["run", *_COUNTS], runs)]
    for name, group in comparison.groups.items():
        lines += ["", f"## {name} (items in all runs: {group.items})", ""]
        heads = ["run", *(column.metric.name for column in group.columns)]
        if group.columns:
            rows = [[run, *(said(column.means[place]) for column in group.columns)] for place, run in enumerate(names)]
            lines += markdown_table(heads, [*rows, ["items", *(str(column.items) for column in group.columns)]])
            rows = [
                [run, *(said_of_difference(column.metric, column.differences[place]) for column in group.columns)]
                for place, run in enumerate(names[1:])
            ]
            lines += ["", f"Difference to {names[0]}:", "", *markdown_table(heads, rows)]
    lines += ["", f"Mean [95 % interval, {BOOTSTRAPS} bootstraps over items]. {MEANING}", ""]
    lines += markdown_definitions(comparison.measured())
    lines += ["", *(f"- {name}: {value}" for name, value in _settings(comparison).items())]
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def as_html(comparison: Comparison) -> str:
    """One page that needs nothing but itself."""
    return rendered(
        "compare.html.jinja",
        runs=_runs(comparison),
        counts=_COUNTS,
        groups=comparison.groups,
        plots={name: runs_plot(_measured(group.columns)) for name, group in comparison.groups.items()},
        metrics=comparison.measured(),
        bootstraps=BOOTSTRAPS,
        meaning=MEANING,
        said=said,
        verdict=verdict,
        setting=_settings(comparison),
    )


def said(estimate: Estimate, is_difference: bool = False) -> str:
    """ "0.671 [0.650, 0.690]", the mean with its sign for a difference; "-" without a number."""
    if estimate.mean is None:
        return "-"
    mean = f"{_rounded(estimate.mean):{'+' if is_difference else ''}.3f}"
    if estimate.low is None or estimate.high is None:
        return f"{mean} (one item)"
    return f"{mean} [{_rounded(estimate.low):.3f}, {_rounded(estimate.high):.3f}]"


def verdict(metric: Metric, difference: Estimate) -> str:
    """ "better" or "worse" than the first run, or "" where the interval has 0 in it."""
    if difference.mean is None or not difference.excludes_zero:
        return ""
    return "better" if (difference.mean > 0) == metric.higher else "worse"


def said_of_difference(metric: Metric, difference: Estimate) -> str:
    """ "+0.030 [0.010, 0.050] better", or "-"."""
    return f"{said(difference, is_difference=True)} {verdict(metric, difference)}".rstrip()


MEANING = (
    "A metric's means and differences are over the items that have it in every run that measured it. Differences are "
    "to the first run, paired by items; better and worse stand where the 95 % interval excludes 0. Of twenty "
    "differences that are none, one does so by chance."
)
_COUNTS = ("pictures", "items", "compared", "left out")


def _rounded(value: float) -> float:
    """To three digits, and no -0.000."""
    return round(value, 3) + 0.0


def _runs(comparison: Comparison) -> list[dict[str, Any]]:
    """Name, colour and _COUNTS of each run."""
    rows = []
    for place, (run, left) in enumerate(zip(comparison.runs, comparison.left_out, strict=True)):
        items = len(run.items)
        counts = (count_pictures(run.rows), items, items - len(left), len(left))
        rows.append({"name": run.name, "colour": COLOURS[place % len(COLOURS)], "counts": counts})
    return rows


def _settings(comparison: Comparison) -> dict[str, str]:
    """What was measured with what: once where all runs agree."""
    by_run = {run.name: run.setting.named() for run in comparison.runs}
    texts = {}
    for key in comparison.runs[0].setting.named():
        said_by = {name: setting[key] for name, setting in by_run.items()}
        alike = len(set(said_by.values())) == 1
        texts[key] = next(iter(said_by.values())) if alike else "; ".join(f"{k}: {v}" for k, v in said_by.items())
    return texts


def _group_json(comparison: Comparison, group: Group) -> dict[str, Any]:
    names = [run.name for run in comparison.runs]
    return {
        "items": group.items,
        "metrics": {
            column.metric.key: {
                "items": column.items,
                "means": {name: asdict(one) for name, one in zip(names, column.means, strict=True)},
                "differences": {
                    name: {**asdict(one), "excludes_zero": one.excludes_zero}
                    for name, one in zip(names[1:], column.differences, strict=True)
                },
            }
            for column in group.columns
        },
    }


def _measured(columns: Sequence[Column]) -> list[Column]:
    return [column for column in columns if column.items]
