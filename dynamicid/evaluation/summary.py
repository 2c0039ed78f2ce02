"""Means, spreads and bootstrap intervals over items."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .metrics import METRICS
from .scoring import Row

BOOTSTRAPS = 5000
BOOTSTRAP_SEED = 0
GROUPS = {"one person": lambda people: people == 1, "several people": lambda people: people > 1}
"""The table's groups, by how many people a picture has."""


@dataclass(frozen=True)
class Estimate:
    """A mean over items.

    Attributes:
        mean: None if there is nothing to measure.
        low, high: 95 % interval of the mean; None for fewer than two items.
    """

    mean: float | None
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval; without one it does not."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class MetricSummary(Estimate):
    """A metric over the items of a group.

    Attributes:
        spread: Standard deviation over items; None for fewer than two.
        items: How many have the metric.
        pictures: How many pictures they have.
    """

    spread: float | None
    items: int
    pictures: int


def item_values(rows: Sequence[Row], key: str) -> dict[str, float]:
    """A column's mean for each item that has it, over the item's people and seeds."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.get(key) is not None:
            values[row["item"]].append(row[key])
    return {item: float(np.mean(numbers)) for item, numbers in values.items()}


def summarise(rows: Sequence[Row], key: str) -> MetricSummary:
    """Mean, spread and interval of one column."""
    values = list(item_values(rows, key).values())
    mean = estimate(values)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    pictures = count_pictures([row for row in rows if row.get(key) is not None])
    return MetricSummary(mean.mean, mean.low, mean.high, spread, len(values), pictures)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of items' values and its 95 % bootstrap interval; given paired differences of two runs, a paired interval.

    Items are resampled with replacement, each with all its people and seeds; the draws are the same in every run. The
    percentiles are expanded for small samples (Hesterberg 2015, "What Teachers Should Know About the Bootstrap"):
    plain ones give too narrow intervals, as a normal interval instead of Student's t does.
    """
    if not values:
        return Estimate(None, None, None)
    if len(values) == 1:
        return Estimate(float(values[0]), None, None)
    array = np.array(values)
    random = np.random.default_rng(BOOTSTRAP_SEED)
    means = array[random.integers(len(array), size=(BOOTSTRAPS, len(array)))].mean(axis=1)
    tail = 100 * _tail(len(array))
    low, high = np.percentile(means, [tail, 100 - tail])
    return Estimate(float(array.mean()), float(low), float(high))


def count_pictures(rows: Sequence[Row]) -> int:
    """How many pictures some rows are of."""
    return len({(row["item"], row["seed"]) for row in rows})


def format_estimate(estimate: Estimate, is_difference: bool = False) -> str:
    """ "0.671 [0.650, 0.690]", the mean with its sign for a difference; "-" without a number."""
    if estimate.mean is None:
        return "-"
    mean = f"{_rounded(estimate.mean):{'+' if is_difference else ''}.3f}"
    if estimate.low is None or estimate.high is None:
        return f"{mean} (one item)"
    return f"{mean} [{_rounded(estimate.low):.3f}, {_rounded(estimate.high):.3f}]"


def format_summary(summary: MetricSummary) -> str:
    """ "0.671 [0.650, 0.690] ± 0.101", or "-"."""
    spread = "" if summary.spread is None else f" ± {summary.spread:.3f}"
    return f"{format_estimate(summary)}{spread}"


def _rounded(value: float) -> float:
    """To three digits, without -0.000."""
    return round(value, 3) + 0.0


def _tail(count: int) -> float:
    """Share of the means below the interval; 0.025 for many items, less for few."""
    from scipy.stats import norm, t

    return float(norm.cdf(np.sqrt(count / (count - 1)) * t.ppf(0.025, count - 1)))


def summaries(rows: Sequence[Row]) -> dict[str, dict[str, MetricSummary]]:
    """Group -> column -> summary, of the groups that have rows; of none, all."""
    groups = {name: [row for row in rows if belongs(row["people"])] for name, belongs in GROUPS.items()}
    present = {name: chosen for name, chosen in groups.items() if chosen} or groups
    return {name: {metric.key: summarise(chosen, metric.key) for metric in METRICS} for name, chosen in present.items()}
