"""A comparison of runs as JSON, Markdown and one HTML file; the same runs give the same bytes."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import DynamicIDError
from ..files.atomic import write_text
from ..files.html import render_template
from .compare import Comparison, GroupComparison
from .metrics import Metric
from .plots import COLOURS, runs_plot
from .summary import BOOTSTRAPS, Estimate, count_pictures, format_estimate
from .tables import definitions, json_text, markdown_definitions, markdown_page, markdown_table


def check_out(out: Path, folders: Sequence[Path]) -> None:
    """Refuses to write into a run's folder.

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
    write_text(out / "compare.json", json_text(as_json(comparison)))
    write_text(out / "compare.md", as_markdown(comparison))
    write_text(out / "compare.html", as_html(comparison))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything, by the runs' names."""
    names = [run.name for run in comparison.runs]
    return {
        "runs": [
            {"name": run.name, "setting": asdict(run.setting), "pictures": count_pictures(run.rows), "left_out": left}
            for run, left in zip(comparison.runs, comparison.left_out, strict=True)
        ],
        "metrics": definitions(),
        "disagreements": [
            {"metric": one.metric.key, "judge": one.judge.key, "group": one.group, "runs": [names[n] for n in one.runs]}
            | {"is_certain": one.is_certain}
            for one in comparison.disagreements
        ],
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
            rows = [
                [run, *(format_estimate(column.means[place]) for column in group.columns)]
                for place, run in enumerate(names)
            ]
            lines += markdown_table(heads, [*rows, ["items", *(str(column.items) for column in group.columns)]])
            rows = [
                [run, *(format_difference(column.metric, column.differences[place]) for column in group.columns)]
                for place, run in enumerate(names[1:])
            ]
            lines += ["", f"Difference to {names[0]}:", "", *markdown_table(heads, rows)]
    if texts := describe_disagreements(comparison):
        lines += ["", "## The recognisers disagree", "", *(f"- {text}" for text in texts)]
    lines += ["", f"Mean [95 % interval, {BOOTSTRAPS} bootstraps over items]. {MEANING}", ""]
    lines += markdown_definitions(comparison.measured(), _settings(comparison))
    return markdown_page(lines)


def as_html(comparison: Comparison) -> str:
    """One page without references to other files."""
    return render_template(
        Path(__file__).with_name("compare.html.jinja"),
        runs=_runs(comparison),
        counts=_COUNTS,
        groups=comparison.groups,
        plots={
            name: runs_plot([column for column in group.columns if column.items])
            for name, group in comparison.groups.items()
        },
        metrics=comparison.measured(),
        bootstraps=BOOTSTRAPS,
        meaning=MEANING,
        disagreements=describe_disagreements(comparison),
        format_estimate=format_estimate,
        verdict=verdict,
        setting=_settings(comparison),
    )


def describe_disagreements(comparison: Comparison) -> list[str]:
    """A sentence for each order of two runs that recognisers do not agree on."""
    texts = []
    for one in comparison.disagreements:
        better, worse = (comparison.runs[place].name for place in one.runs)
        certain = "both intervals exclude 0" if one.is_certain else "not both intervals exclude 0"
        texts.append(
            f"{one.group}: by {one.metric.name} '{better}' is better than '{worse}', by {one.judge.name} it is worse "
            f"({certain})."
        )
    return texts


def verdict(metric: Metric, difference: Estimate) -> str:
    """ "better" or "worse" than the first run, or "" where the interval has 0 in it."""
    if difference.mean is None or not difference.excludes_zero:
        return ""
    return "better" if (difference.mean > 0) == metric.higher else "worse"


def format_difference(metric: Metric, difference: Estimate) -> str:
    """ "+0.030 [0.010, 0.050] better", or "-"."""
    return f"{format_estimate(difference, is_difference=True)} {verdict(metric, difference)}".rstrip()


MEANING = (
    "A metric's means and differences are over the items that have it in every run that measured it. Differences are "
    "to the first run, paired by items; better and worse stand where the 95 % interval excludes 0. Between runs that "
    "do not differ this still happens by chance, for about one metric in twenty."
)
_COUNTS = ("pictures", "items", "compared", "left out")


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
        values = {name: setting[key] for name, setting in by_run.items()}
        agree = len(set(values.values())) == 1
        texts[key] = next(iter(values.values())) if agree else "; ".join(f"{k}: {v}" for k, v in values.items())
    return texts


def _group_json(comparison: Comparison, group: GroupComparison) -> dict[str, Any]:
    names = [run.name for run in comparison.runs]
    return {
        "items": group.items,
        "metrics": {
            column.metric.key: {
                "items": column.items,
                "means": {name: asdict(mean) for name, mean in zip(names, column.means, strict=True)},
                "differences": {
                    name: {**asdict(difference), "excludes_zero": difference.excludes_zero}
                    for name, difference in zip(names[1:], column.differences, strict=True)
                },
            }
            for column in group.columns
        },
    }
