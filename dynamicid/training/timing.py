"""How the time of a long command divides among its parts."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Seconds by part, since it was made; what no part takes is ``rest``. Counts the items that were waited for."""

    def __init__(self, rest: str) -> None:
        self._start, self._rest = time.perf_counter(), rest
        self._seconds: dict[str, float] = defaultdict(float)
        self._count = 0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the block for a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - start

    def waiting(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items; the time until each comes counts for a part."""
        iterator = iter(items)
        while True:
            with self.part(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            self._count += 1
            yield item

    def report(self) -> str:
        """ "31 ms per photo: 60 % networks, 30 % waiting for photos, 10 % writing"; "" without any item."""
        if not self._count:
            return ""
        total = time.perf_counter() - self._start
        parts = {**self._seconds, self._rest: total - sum(self._seconds.values())}
        shares = ", ".join(f"{100 * seconds / total:.0f} % {name}" for name, seconds in parts.items())
        return f"{1000 * total / self._count:.0f} ms per photo: {shares}"
