"""The report's plots as SVG text, the same bytes for the same numbers."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .metrics import Metric
from .scoring import Row
from .summary import GROUPS, item_values
from .tables import Result

_COLOURS = ("#2f6db3", "#c7703a")
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "dynamicid",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
}
_COLUMNS = 4


def spread_plot(result: Result) -> str:
    """Each metric's items as dots, with mean and interval; "" where there is nothing."""
    metrics = result.measured()
    if not metrics:
        return ""
    rows = -(-len(metrics) // _COLUMNS)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10, 2.3 * rows), layout="constrained")
        for place, metric in enumerate(metrics):
            _spread_of(figure.add_subplot(rows, _COLUMNS, place + 1), result, metric)
        return _svg(figure)


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
        axes.scatter(other, own, s=9, color=_COLOURS[0], alpha=0.6, linewidths=0)
        axes.set(
            xlim=(low, high), ylim=(low, high), xlabel="cosine with somebody else", ylabel="cosine with the own photo"
        )
        return _svg(figure)


def _spread_of(axes: Any, result: Result, metric: Metric) -> None:
    names = list(result.groups)
    for place, name in enumerate(names):
        values = np.array(list(item_values(_rows_of(result, name), metric.key).values()))
        summary = result.groups[name][metric.key]
        # Beside each other in an order that says nothing, so that equal values are seen.
        offsets = np.random.default_rng(0).uniform(-0.25, 0.25, len(values))
        axes.scatter(place + offsets, values, s=7, color=_COLOURS[place], alpha=0.45, linewidths=0)
        if summary.low is not None:
            axes.plot([place, place], [summary.low, summary.high], color="#1d2430", linewidth=2)
        if summary.mean is not None:
            axes.plot([place - 0.3, place + 0.3], [summary.mean] * 2, color="#1d2430", linewidth=1.2)
    axes.set_title(metric.name, fontsize=10)
    axes.set_xticks(range(len(names)), [name.removesuffix(" people").removesuffix(" person") for name in names])
    axes.set_xlim(-0.6, len(names) - 0.4)
    if metric.is_share:
        axes.set_ylim(-0.05, 1.05)
    axes.spines[["top", "right"]].set_visible(False)


def _rows_of(result: Result, name: str) -> list[Row]:
    return [row for row in result.rows if GROUPS[name](row["people"])]


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
