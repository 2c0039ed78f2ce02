"""Repeatable random numbers: the same (seed, topic, number) gives the same draw on every machine."""

from enum import IntEnum
from typing import TypeVar

import numpy as np

Value = TypeVar("Value")


class Topic(IntEnum):
    """What is drawn; each topic has a stream of its own, so that none depends on how much another one draws."""

    identity = 1
    motion = 2
    scene = 3
    background = 4
    portrait = 5
    choice = 6
    cycle = 100
    """Cycles number ``cycle`` + k."""


def generator(seed: int, topic: int, *numbers: int) -> np.random.Generator:
    """A generator for one thing: its seed, its topic and its numbers, none of them negative."""
    return np.random.Generator(np.random.PCG64([seed, topic, *numbers]))


def pick(random: np.random.Generator, values: tuple[Value, ...]) -> Value:
    """One of ``values``, all equally likely."""
    return values[int(random.integers(len(values)))]


def cycled(seed: int, cycle: int, number: int, values: tuple[Value, ...]) -> Value:
    """One of ``values``, such that each block of ``len(values)`` consecutive numbers uses every value once.

    Blocks are shuffled anew, so neighbours differ without a visible pattern.
    """
    block, place = divmod(number, len(values))
    order = generator(seed, Topic.cycle + cycle, block).permutation(len(values))
    return values[int(order[place])]
