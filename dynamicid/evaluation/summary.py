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
class Summary:
    """A metric over the items of a group.

    Attributes:
        mean: Over items; None if there is nothing to measure.
        spread: Standard deviation over items; None for fewer than two.
        low, high: 95 % interval of the mean; None for fewer than two.
        items: How many.
        pictures: How many pictures they have.
    """

    mean: float | None
    spread: float | None
    low: float | None
    high: float | None
    items: int
    pictures: int


def item_values(rows: Sequence[Row], key: str) -> dict[str, float]:
    """A column's mean for each item that has it, over the item's people and seeds."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row[key] is not None:
            values[row["item"]].append(row[key])
    return {item: float(np.mean(found)) for item, found in values.items()}


def summarise(rows: Sequence[Row], key: str) -> Summary:
    """Mean, spread and interval of one column."""
    values = list(item_values(rows, key).values())
    found = estimate(values)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    pictures = count_pictures([row for row in rows if row[key] is not None])
    return Summary(found.mean, spread, found.low, found.high, len(values), pictures)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and interval of items' values; of their differences between two runs, a paired interval.

    Items are drawn anew, each with all its people and seeds: they are what another benchmark would have other ones of.
    The draw is always the same. Percentiles are moved out as Hesterberg does it (2015, "What Teachers Should Know About
    the Bootstrap", expanded percentile): the plain ones are too narrow for few items, as a normal interval without
    Student's t is.
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


def _tail(count: int) -> float:
    """Share of the means below the interval; 0.025 for many items, less for few."""
    from scipy.stats import norm, t

    return float(norm.cdf(np.sqrt(count / (count - 1)) * t.ppf(0.025, count - 1)))


def summaries(rows: Sequence[Row]) -> dict[str, dict[str, Summary]]:
    """Group -> column -> summary, of the groups that have rows; of none, all."""
    groups = {name: [row for row in rows if belongs(row["people"])] for name, belongs in GROUPS.items()}
    present = {name: chosen for name, chosen in groups.items() if chosen} or groups
    return {name: {one.key: summarise(chosen, one.key) for one in METRICS} for name, chosen in present.items()}
