"""The benchmark file, and files that are none."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.evaluation.benchmark import BENCHMARK, load_benchmark, seeds_of
from scripts.write_benchmark import text

from .conftest import small_benchmark, write_json


def test_the_benchmark_is_what_its_script_writes():
    assert BENCHMARK.read_text(encoding="utf-8") == text()
    benchmark = load_benchmark().benchmark
    subjects = [subject for item in benchmark.items for subject in item.people]
    assert len(benchmark.people) == 50
    assert Counter(len(item.people) for item in benchmark.items) == {1: 100, 2: 50, 3: 25}
    assert min(Counter(subject.person for subject in subjects).values()) >= 5
    assert len({(subject.expression, subject.pitch, subject.yaw) for subject in subjects}) == 63
    assert [len(item.people) for item in benchmark.first(1)] == [1, 2, 3]
    assert list(seeds_of(benchmark.items[1], 2, first=3)) == [2003, 2004]


def change(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """``change("items.0.seed", -1)`` of a benchmark's content."""

    def apply(content: Any) -> None:
        *way, last = (int(part) if part.isdigit() else part for part in place.split("."))
        for part in way:
            content = content[part]
        content[last] = value

    return apply


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (change("version", 2), "version is 2; this pack reads version 1"),
        (change("format", "holiday"), "format: "),
        (change("items.0.item", "../../etc/passwd"), "items.0.item: "),
        (change("items.0.seed", -1), "items.0.seed: "),
        (change("items.0.people.0.expression", "smug"), "items.0.people.0.expression: "),
        (change("items.0.people.0.yaw", float("nan")), "items.0.people.0.yaw: "),
        (change("items.0.people.0.box", [0.5, 0, 0.6, 1]), "extends beyond the picture"),
        (change("items.0.people.0.box", [0, 0.5, 1, 0.6]), "extends beyond the picture"),
        (change("items.0.people.0.box", [0, 0, 0, 1]), "is empty"),
        (change("items.0.people.0.box", [0, 0, 1, 0]), "is empty"),
        (change("items.0.people.0.pitch", -91), "items.0.people.0.pitch: "),
        (change("items.0.people.0.person", "person-77"), "person-77, who is not among the people"),
        (change("items.1.item", "one-001"), "the item one-001 is defined twice"),
        (change("items.6.people.1.person", "person-1"), "names a person twice"),
        (change("items.0.note", "x"), "items.0.note: "),
        (change("people", []), "people: "),
    ],
)
def test_bad_benchmarks_are_told(broken: Callable[[Any], None], fault: str, tmp_path: Path):
    content = small_benchmark()
    broken(content)
    with pytest.raises(DynamicIDError) as caught:
        load_benchmark(write_json(tmp_path / "bad.json", content))
    assert fault in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", "[" * 100_000])
def test_no_benchmark_at_all(content: str, tmp_path: Path):
    with pytest.raises(DynamicIDError):
        load_benchmark(write_json(tmp_path / "bad.json", content))
