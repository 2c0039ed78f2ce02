"""The report's plots as SVG text, the same bytes for the same numbers."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .compare import MetricComparison
from .metrics import Metric
from .summary import GROUPS, item_values
from .tables import Result

COLOURS = ("#2f6db3", "#c7703a", "#3d8a57", "#8a5fb0", "#a8892c", "#4a9aa8", "#b04a6a", "#5b6573")
"""Of groups, and of compared runs; repeated where there are more."""
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "dynamicid",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
}
_LINE = "#1d2430"
_COLUMNS = 4
_INCHES = 10


def spread_plot(result: Result) -> str:
    """The items of each metric but the judges' as dots, with mean and interval; "" where there is nothing."""
    names = [name.removesuffix(" people").removesuffix(" person") for name in result.groups]
    metrics = [metric for metric in result.measured() if not metric.by_judges]
    return _panels(metrics, names, lambda axes, metric: _spread_of(axes, result, metric))


def runs_plot(columns: Sequence[MetricComparison]) -> str:
    """Each metric's mean with its interval, run beside run by their numbers; "" where there is nothing."""
    by_metric = {column.metric: column for column in columns}
    numbers = [str(place + 1) for place in range(len(columns[0].means))] if columns else []
    return _panels(list(by_metric), numbers, lambda axes, metric: _runs_of(axes, by_metric[metric]))


def leakage_plot(result: Result) -> str:
    """Cosine with the own photo against the highest with another person's; "" without several people."""
    points = [(row["leakage"], row["face_sim"]) for row in result.rows if row["leakage"] is not None]
    if not points:
        return ""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.2, 3.8), layout="constrained")
        axes = figure.add_subplot()
        other, own = np.array(points).T
        low, high = min(other.min(), own.min()) - 0.05, max(other.max(), own.max()) + 0.05
        axes.plot([low, high], [low, high], color="#888888", linewidth=0.8)
        axes.scatter(other, own, s=9, color=COLOURS[0], alpha=0.6, linewidths=0)
        axes.set(
            xlim=(low, high), ylim=(low, high), xlabel="cosine with somebody else", ylabel="cosine with the own photo"
        )
        return _svg(figure)


def _panels(metrics: Sequence[Metric], names: Sequence[str], draw: Callable[[Any, Metric], None]) -> str:
    """A panel for each metric, over it the metric's name, below it ``names``."""
    if not metrics:
        return ""
    rows = -(-len(metrics) // _COLUMNS)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_INCHES, 2.3 * rows), layout="constrained")
        for place, metric in enumerate(metrics):
            axes = figure.add_subplot(rows, _COLUMNS, place + 1)
            draw(axes, metric)
            axes.set_title(metric.name, fontsize=10)
            axes.set_xticks(range(len(names)), names)
            axes.set_xlim(-0.6, len(names) - 0.4)
            if metric.is_share:
                axes.set_ylim(-0.05, 1.05)
            axes.spines[["top", "right"]].set_visible(False)
        return _svg(figure)


def _runs_of(axes: Any, column: MetricComparison) -> None:
    for place, estimate in enumerate(column.means):
        if estimate.low is not None:
            axes.plot([place, place], [estimate.low, estimate.high], color=_LINE, linewidth=1.5)
        if estimate.mean is not None:
            axes.scatter([place], [estimate.mean], s=30, color=COLOURS[place % len(COLOURS)], linewidths=0, zorder=3)


def _spread_of(axes: Any, result: Result, metric: Metric) -> None:
    for place, name in enumerate(result.groups):
        rows = [row for row in result.rows if GROUPS[name](row["people"])]
        values = np.array(list(item_values(rows, metric.key).values()))
        summary = result.groups[name][metric.key]
        # Random offsets, so that equal values do not hide each other.
        offsets = np.random.default_rng(0).uniform(-0.25, 0.25, len(values))
        axes.scatter(place + offsets, values, s=7, color=COLOURS[place], alpha=0.45, linewidths=0)
        if summary.low is not None:
            axes.plot([place, place], [summary.low, summary.high], color=_LINE, linewidth=2)
        if summary.mean is not None:
            axes.plot([place - 0.3, place + 0.3], [summary.mean] * 2, color=_LINE, linewidth=1.2)


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
