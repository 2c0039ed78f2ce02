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
    """Mean, spread and interval of one column.

    Items are drawn anew, each with all its people and seeds: they are what another benchmark would have other ones of.
    The draw is always the same. Percentiles are moved out as Hesterberg does it (2015, "What Teachers Should Know About
    the Bootstrap", expanded percentile): the plain ones are too narrow for few items, as a normal interval without
    Student's t is.
    """
    values = np.array(list(item_values(rows, key).values()))
    pictures = len({(row["item"], row["seed"]) for row in rows if row[key] is not None})
    if not len(values):
        return Summary(None, None, None, None, 0, 0)
    if len(values) == 1:
        return Summary(float(values[0]), None, None, None, 1, pictures)
    random = np.random.default_rng(BOOTSTRAP_SEED)
    means = values[random.integers(len(values), size=(BOOTSTRAPS, len(values)))].mean(axis=1)
    tail = 100 * _tail(len(values))
    low, high = np.percentile(means, [tail, 100 - tail])
    spread = float(values.std(ddof=1))
    return Summary(float(values.mean()), spread, float(low), float(high), len(values), pictures)


def _tail(count: int) -> float:
    """Share of the means below the interval; 0.025 for many items, less for few."""
    from scipy.stats import norm, t

    return float(norm.cdf(np.sqrt(count / (count - 1)) * t.ppf(0.025, count - 1)))


def summaries(rows: Sequence[Row]) -> dict[str, dict[str, Summary]]:
    """Group -> column -> summary, of the groups that have rows; of none, all."""
    groups = {name: [row for row in rows if belongs(row["people"])] for name, belongs in GROUPS.items()}
    present = {name: chosen for name, chosen in groups.items() if chosen} or groups
    return {name: {one.key: summarise(chosen, one.key) for one in METRICS} for name, chosen in present.items()}
