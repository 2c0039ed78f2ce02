"""Compares runs over the items that all of them have: means, and paired differences to the first run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import DynamicIDError
from .compare_runs import Run
from .metrics import METRICS, Metric
from .scoring import Row
from .summary import GROUPS, Estimate, estimate, item_values


@dataclass(frozen=True)
class MetricComparison:
    """A metric of a group of pictures in all runs.

    Attributes:
        metric: What is measured.
        items: How many have it in every run that measured it at all; the numbers are over these.
        means: One a run.
        differences: To the first run, paired by items; one for each run after it.
    """

    metric: Metric
    items: int
    means: tuple[Estimate, ...]
    differences: tuple[Estimate, ...]


@dataclass(frozen=True)
class GroupComparison:
    """items: how many all runs have. columns: the metrics that some run measured; none without items."""

    items: int
    columns: tuple[MetricComparison, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: Two or more.
        left_out: For each run the items that another one lacks.
        groups: By name, those that some run has.
    """

    runs: tuple[Run, ...]
    left_out: tuple[tuple[str, ...], ...]
    groups: Mapping[str, GroupComparison]

    def measured(self) -> list[Metric]:
        """The metrics that have a number in some group."""
        shown = {column.metric for group in self.groups.values() for column in group.columns}
        return [metric for metric in METRICS if metric in shown]


def compare(runs: Sequence[Run]) -> Comparison:
    """Means and differences over the items that all runs have.

    Raises:
        DynamicIDError: There is no such item.
    """
    items = [run.items for run in runs]
    shared = set(items[0]).intersection(*items)
    if not shared:
        counts = ", ".join(f"{len(own)} ({run.name})" for run, own in zip(runs, items, strict=True))
        remedy = "Paint and score the same items in every run."
        raise DynamicIDError("RUN", f"Of {counts} items, none is in all runs.", remedy)
    groups = {}
    for name, belongs in GROUPS.items():
        rows = [[row for row in run.rows if belongs(row["people"])] for run in runs]
        if any(rows):
            groups[name] = _group([[row for row in own if row["item"] in shared] for own in rows])
    left_out = tuple(tuple(item for item in own if item not in shared) for own in items)
    return Comparison(tuple(runs), left_out, groups)


def _group(rows: Sequence[Sequence[Row]]) -> GroupComparison:
    columns = [_column(metric, [item_values(own, metric.key) for own in rows]) for metric in METRICS]
    items = len({row["item"] for row in rows[0]})
    return GroupComparison(items, tuple(column for column in columns if column is not None))


def _column(metric: Metric, values: Sequence[Mapping[str, float]]) -> MetricComparison | None:
    """``values``: for each run by item; None if no run measured anything."""
    measured = [own for own in values if own]
    if not measured:
        return None
    items = [item for item in measured[0] if all(item in own for own in measured)]
    means = tuple(estimate([own[item] for item in items if own]) for own in values)
    first, *others = values
    differences = [[other[item] - first[item] for item in items if other and first] for other in others]
    return MetricComparison(metric, len(items), means, tuple(map(estimate, differences)))
