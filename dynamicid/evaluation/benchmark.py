"""The benchmark file: what is to be painted, of whom, and what the faces are to do."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import DynamicIDError
from ..faces.prompts import EMOTIONS
from ..files.digests import sha256_hex
from ..files.texts import decode_text

BENCHMARK = Path(__file__).with_name("benchmark-1.json")
"""The benchmark of this version of the pack."""
VERSION = 1
MOST_PEOPLE = 3
_LARGEST_FILE = 16 << 20

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Degrees = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Subject(_Part):
    """One person of a picture.

    Attributes:
        person: The slot, one of the benchmark's ``people``.
        box: Left, top, width, height as shares of the picture: where head and shoulders are to be.
        expression: One of EMOTIONS.
        pitch, yaw: Degrees; positive = up, and towards the picture's right.
        face_prompt: The same in words, as the IMR reads them.
    """

    person: Name
    box: tuple[Share, Share, Share, Share]
    expression: Literal[EMOTIONS]  # pyright: ignore[reportInvalidTypeForm]
    pitch: Degrees
    yaw: Degrees
    face_prompt: Text

    @model_validator(mode="after")
    def _box_lies_inside(self) -> "Subject":
        left, top, width, height = self.box
        if not width or not height or left + width > 1.0001 or top + height > 1.0001:
            raise ValueError(f"the box {self.box} is empty or extends beyond the picture")
        return self


class Item(_Part):
    """One picture.

    Attributes:
        item: Its name, the first part of the pictures' file names.
        prompt: What the whole picture shows; says nothing of expressions and poses.
        seed: Of the first picture; further ones count up from it.
        people: The subjects, from left to right.
    """

    item: Name
    prompt: Text
    seed: Annotated[int, Field(ge=0, lt=2**48)]
    people: Annotated[tuple[Subject, ...], Field(min_length=1, max_length=MOST_PEOPLE)]

    @model_validator(mode="after")
    def _each_person_once(self) -> "Item":
        if len({subject.person for subject in self.people}) < len(self.people):
            raise ValueError(f"the item {self.item} names a person twice")
        return self


class Benchmark(_Part):
    """All items.

    Attributes:
        format, version: What kind of file this is.
        width, height: Pixels of the pictures.
        people: The slots, in the order in which photos fill them.
        items: What is to be painted.
    """

    format: Literal["dynamicid-benchmark"]
    version: Literal[1]
    width: Annotated[int, Field(ge=64, le=4096)]
    height: Annotated[int, Field(ge=64, le=4096)]
    people: Annotated[tuple[Name, ...], Field(min_length=1)]
    items: Annotated[tuple[Item, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Benchmark":
        for kind, names in (("person", self.people), ("item", [item.item for item in self.items])):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            if twice:
                raise ValueError(f"the {kind} {twice[0]} is defined twice")
        unknown = sorted({subject.person for item in self.items for subject in item.people} - set(self.people))
        if unknown:
            raise ValueError(f"an item asks for {unknown[0]}, who is not among the people")
        return self

    def first(self, most: int | None) -> list[Item]:
        """The first ``most`` items for each number of people (all of them, if None), in the file's order."""
        taken = [0] * (MOST_PEOPLE + 1)
        chosen = []
        for item in self.items:
            taken[len(item.people)] += 1
            if most is None or taken[len(item.people)] <= most:
                chosen.append(item)
        return chosen


@dataclass(frozen=True)
class LoadedBenchmark:
    """benchmark: what the file says. digest: 16 hex digits of its SHA-256. name: the file's."""

    benchmark: Benchmark
    digest: str
    name: str


def read_json(path: Path, remedy: str) -> tuple[Any, bytes]:
    """The value and the bytes of a JSON file.

    Raises:
        DynamicIDError: No such file, one of more than 16 MB, or no JSON in UTF-8; ``remedy`` says what to do.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"more than {_LARGEST_FILE >> 20} MB")
        content = path.read_bytes()
        return json.loads(decode_text(content)), content
    except (OSError, ValueError, RecursionError) as error:
        raise DynamicIDError(str(path), f"It cannot be read as JSON ({error}).", remedy) from error


def load_benchmark(path: Path = BENCHMARK) -> LoadedBenchmark:
    """Reads a benchmark file.

    Raises:
        DynamicIDError: No such file, no JSON in UTF-8, another format or version, or something in it that cannot be.
    """
    parsed, content = read_json(path, "Name a benchmark file.")
    version = parsed.get("version") if isinstance(parsed, dict) else None
    if isinstance(parsed, dict) and parsed.get("format") == "dynamicid-benchmark" and version != VERSION:
        found = f"Its version is {version!r}; this pack reads version {VERSION}."
        raise DynamicIDError(str(path), found, "Use the pack's version that the file was made for.")
    try:
        benchmark = Benchmark.model_validate(parsed)
    except ValidationError as error:
        found = f"{describe_validation_error(error)}."
        raise DynamicIDError(str(path), found, "Correct it, or use the benchmark of the pack.") from error
    return LoadedBenchmark(benchmark, sha256_hex(content)[:16], path.name)


def describe_validation_error(error: ValidationError) -> str:
    """ "items.3.people.0.box.2: Input should be less than or equal to 1, found 7 (and 2 more)"."""
    first, *others = error.errors(include_url=False)
    place = ".".join(map(str, first["loc"])) or "the file"
    value = first["input"]
    found = f", found {value!r}" if isinstance(value, (str, int, float, bool, type(None))) else ""
    more = f" (and {len(others)} more)" if others else ""
    return f"{place}: {first['msg']}{found}{more}"


def picture_name(item: str, seed: int) -> str:
    """File name of a picture."""
    return f"{item}_{seed}.png"


def seeds_of(item: Item, count: int, first: int = 0) -> Sequence[int]:
    """The seeds of ``count`` pictures of an item, from its ``first``-th on."""
    return range(item.seed + first, item.seed + first + count)
