"""Compares runs over the items that all of them have: means, and paired differences to the first run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ..errors import DynamicIDError
from .compare_runs import Run
from .metrics import LIKENESSES, METRICS, MOST_JUDGES, Metric, judge_key
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


@dataclass(frozen=True)
class OrderDisagreement:
    """Two recognisers that put two runs in opposite orders.

    Attributes:
        group: Of pictures.
        metric: The likeness by the face pack.
        judge: The same likeness by a judge.
        runs: Places of the two runs; the face pack finds the first one better, the judge the second.
        is_certain: Whether the intervals of both differences exclude 0.
    """

    group: str
    metric: Metric
    judge: Metric
    runs: tuple[int, int]
    is_certain: bool


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: Two or more.
        left_out: For each run the items that another one lacks.
        groups: By name, those that some run has.
        disagreements: Likenesses by which recognisers put runs in opposite orders.
    """

    runs: tuple[Run, ...]
    left_out: tuple[tuple[str, ...], ...]
    groups: Mapping[str, GroupComparison]
    disagreements: tuple[OrderDisagreement, ...] = ()

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
    groups, disagreements = {}, []
    for name, belongs in GROUPS.items():
        rows = [[row for row in run.rows if belongs(row["people"])] for run in runs]
        if any(rows):
            compared = [[row for row in own if row["item"] in shared] for own in rows]
            groups[name] = _group(compared)
            disagreements += order_disagreements(name, compared)
    left_out = tuple(tuple(item for item in own if item not in shared) for own in items)
    return Comparison(tuple(runs), left_out, groups, tuple(disagreements))


def order_disagreements(group: str, rows: Sequence[Sequence[Row]]) -> list[OrderDisagreement]:
    """Where a judge orders two runs the other way than the face pack does.

    Args:
        group: Name of the group of pictures.
        rows: Of each run, of the same items.
    """
    by_key = {metric.key: metric for metric in METRICS}
    found = []
    for metric, judge in ((by_key[k], by_key[judge_key(k, j)]) for k in LIKENESSES for j in range(1, MOST_JUDGES + 1)):
        for one, other in combinations(range(len(rows)), 2):
            difference, judged = (_paired(rows[one], rows[other], key) for key in (metric.key, judge.key))
            if difference.mean is None or judged.mean is None or difference.mean * judged.mean >= 0:
                continue
            is_first_better = (difference.mean > 0) == metric.higher
            certain = difference.excludes_zero and judged.excludes_zero
            runs = (one, other) if is_first_better else (other, one)
            found.append(OrderDisagreement(group, metric, judge, runs, certain))
    return found


def _paired(one: Sequence[Row], other: Sequence[Row], key: str) -> Estimate:
    """Difference of two runs over the items that both have."""
    values, others = item_values(one, key), item_values(other, key)
    return estimate([values[item] - others[item] for item in values if item in others])


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
