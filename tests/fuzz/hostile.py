"""Hostile inputs, each of which follows from its number, and a watch on memory.

``pytest tests/fuzz tests/host/test_fuzz.py --fuzz-inputs 1000000`` runs for hours; ``--fuzz-first N`` begins at another
number.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import psutil
import pytest

GROWTH_MEGABYTES = 150
"""Bound on what a process may keep after all inputs of one kind."""
INTERESTING = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**48, 2**63 - 1, 2**64 - 1)
NUMBERS = (0, -0.0, 1, -1, 0.5, 1e-300, 1e5, 1e12, 1e300, 10**400, float("nan"), float("inf"), float("-inf"), -5, 2**63)
TEXTS = (
    "", " ", ".", "..", "/", "\\", "../../etc/passwd", "C:\\con", "none", "a" * 300, "x" * 5000, "\0", "\n", "\ud83d",
    "\udcff", "\u202e", "😀" * 70, "%s%n", "{}", "[[0,0,1,1]]", "[" * 5000, "(((happy:1e9)))", "embedding:x", "1e400",
)  # fmt: skip
VALUES: tuple[Any, ...] = (*NUMBERS, *TEXTS, None, True, False, [], {}, [[]], ["1"], {"a": [1]}, [1, 2, 3], ["x", 0, 0])


def numbers(config: pytest.Config, share: float = 1.0) -> range:
    """The numbers of the inputs; ``share`` is for kinds that take longer."""
    count, first = config.getoption("--fuzz-inputs"), config.getoption("--fuzz-first")
    assert isinstance(count, int)
    assert isinstance(first, int)
    return range(first, first + max(round(count * share), 1))


def spoilt(content: bytes, draw: Random) -> bytes:
    """Some bytes changed, cut out, doubled, moved or replaced by numbers that overflow."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        # The first bytes are where formats keep their lengths.
        place = draw.randrange(min(len(data), draw.choice((16, 4096, len(data)))) or 1)
        length = draw.choice((1, 2, 8, 64, 1024))
        kind = draw.randrange(6)
        if kind == 0:
            data[place : place + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[place : place + length]
        elif kind == 3:
            width = draw.choice((1, 2, 4, 8))
            number = draw.choice(INTERESTING) % 256**width
            data[place : place + width] = number.to_bytes(width, draw.choice(("little", "big")))
        elif kind == 4:
            data[place:place] = draw.randbytes(length)
        else:
            del data[place:]
    return bytes(data)


def value(draw: Random, depth: int = 0) -> Any:
    """Anything that JSON as Python reads it can say."""
    kind = draw.random()
    if kind < 0.7 or depth > 2:
        return draw.choice(VALUES)
    if kind < 0.85:
        return [value(draw, depth + 1) for _ in range(draw.randrange(5))]
    return {str(draw.choice(TEXTS)): value(draw, depth + 1) for _ in range(draw.randrange(4))}


def changed_json(content: Any, draw: Random) -> Any:
    """A copy of JSON with some parts replaced by anything, left out or doubled."""
    if draw.random() < 0.1:
        return value(draw)
    if isinstance(content, dict):
        return {
            draw.choice(TEXTS) if draw.random() < 0.03 else key: changed_json(item, draw)
            for key, item in content.items()
            if draw.random() > 0.03
        }
    if isinstance(content, list):
        return [changed_json(item, draw) for item in content for _ in range(draw.choice((1,) * 20 + (0, 2)))]
    return content


def megabytes() -> float:
    """Memory of this process without mapped files."""
    memory = psutil.Process().memory_info()
    return (memory.rss - getattr(memory, "shared", 0)) / 2**20


@contextmanager
def memory_watched() -> Iterator[None]:
    """Fails where much more memory is kept after the block than before."""
    before = megabytes()
    yield
    assert megabytes() - before < GROWTH_MEGABYTES


def only_in_words(use: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether the input was taken; one that was not must be refused by an error that can be shown."""
    try:
        use()
    except errors as refusal:
        str(refusal).encode("utf-8")
        return False
    return True


def safetensors_bytes(content: bytes, draw: Random) -> bytes:
    """A safetensors file whose header was changed as JSON, or its bytes."""
    if draw.random() < 0.5:
        return spoilt(content, draw)
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(changed_json(json.loads(content[8 : 8 + length]), draw)).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :]
