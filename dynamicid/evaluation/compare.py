"""Several runs over the items that all of them have, and how far each lies from the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import DynamicIDError
from .compare_runs import Run
from .metrics import METRICS, Metric
from .scoring import Row
from .summary import GROUPS, Estimate, estimate, item_values


@dataclass(frozen=True)
class Column:
    """A metric of a group.

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
class Group:
    """items: how many all runs have. columns: the metrics that some run measured; none without items."""

    items: int
    columns: tuple[Column, ...]


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
    groups: Mapping[str, Group]

    def measured(self) -> list[Metric]:
        """The metrics that have a number in some group."""
        shown = {column.metric for group in self.groups.values() for column in group.columns}
        return [one for one in METRICS if one in shown]


def compare(runs: Sequence[Run]) -> Comparison:
    """Means and differences over the items that all runs have.

    Raises:
        DynamicIDError: There is no such item.
    """
    items = [run.items for run in runs]
    shared = set(items[0]).intersection(*items)
    if not shared:
        found = f"Of {', '.join(f'{len(one)} ({run.name})' for run, one in zip(runs, items, strict=True))} items"
        remedy = "Paint and score the same items in every run."
        raise DynamicIDError("RUN", f"{found} none is in all runs.", remedy)
    groups = {}
    for name, belongs in GROUPS.items():
        rows = [[row for row in run.rows if belongs(row["people"])] for run in runs]
        if any(rows):
            groups[name] = _group([[row for row in one if row["item"] in shared] for one in rows])
    left_out = tuple(tuple(item for item in one if item not in shared) for one in items)
    return Comparison(tuple(runs), left_out, groups)


def _group(rows: Sequence[Sequence[Row]]) -> Group:
    columns = [_column(metric, [item_values(one, metric.key) for one in rows]) for metric in METRICS]
    return Group(len({row["item"] for row in rows[0]}), tuple(column for column in columns if column is not None))


def _column(metric: Metric, values: Sequence[Mapping[str, float]]) -> Column | None:
    """``values``: for each run by item; None if no run measured anything."""
    measured = [one for one in values if one]
    if not measured:
        return None
    items = [item for item in measured[0] if all(item in one for one in measured)]
    means = tuple(estimate([one[item] for item in items if one]) for one in values)
    first, *others = values
    differences = [[one[item] - first[item] for item in items if one and first] for one in others]
    return Column(metric, len(items), means, tuple(map(estimate, differences)))
