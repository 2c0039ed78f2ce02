"""Reads finished evaluations back for a comparison; runs that were measured differently are refused."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from ..errors import DynamicIDError
from ..files.skipped import printable
from ..files.tables import read_table
from .benchmark import describe_validation_error
from .metrics import METRICS
from .scoring import Row
from .summary import count_pictures
from .tables import SCHEMA, Setting, definitions

_TABLE, _ROWS = "table.json", "items.parquet"
_NAMED = "SHA-256 "
_NONE = "none: "


@dataclass(frozen=True, eq=False)
class Run:
    """A finished evaluation.

    Attributes:
        name: In the comparison.
        setting: What was measured.
        rows: One a person of a picture.
    """

    name: str
    setting: Setting
    rows: tuple[Row, ...]

    @property
    def items(self) -> list[str]:
        """The items that were scored, in their order."""
        return list(dict.fromkeys(row["item"] for row in self.rows))


class _Table(BaseModel):
    """What is needed of ``table.json``."""

    setting: Setting
    pictures: int
    metrics: dict[str, dict[str, str]]


def read_runs(folders: Sequence[Path], names: Sequence[str] = ()) -> list[Run]:
    """Reads the output folders of ``evaluate``.

    Args:
        folders: Two or more.
        names: Of the runs in their order; none: the folders' own, numbered where several have the same.

    Raises:
        DynamicIDError: Fewer than two, names that do not fit, a file that is missing or damaged, or runs that were
            measured with different benchmarks, photos or networks.
    """
    if len(folders) < 2:
        found = f"There {'is one folder' if folders else 'is no folder'}; a comparison needs two or more."
        raise DynamicIDError("RUN", found, "Name the --out folders of several `evaluate` runs.")
    names = _checked(names, len(folders)) if names else _names_of(folders)
    runs = [_read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    _check_agreement(runs)
    return runs


def _check_agreement(runs: Sequence[Run]) -> None:
    for key, comparable in _MUST_AGREE:
        first, *others = [run for run in runs if comparable(getattr(run.setting, key)) is not None] or runs[:1]
        for other in others:
            texts = [getattr(run.setting, key) for run in (other, first)]
            if comparable(texts[0]) != comparable(texts[1]):
                name = key.replace("_", " ")
                found = f"Its {name}: {texts[0]}; of '{first.name}': {texts[1]}."
                raise DynamicIDError(f"run '{other.name}'", found, f"Score both with the same {name}.")


def _checked(names: Sequence[str], count: int) -> Sequence[str]:
    if len(names) != count:
        found = f"There are {len(names)} names for {count} runs."
        raise DynamicIDError("--name", found, "Repeat --name once for each run, in their order, or leave it out.")
    for name in names:
        if not name.strip() or not name.isprintable():
            raise DynamicIDError("--name", f"{name!r} is no name that can be shown.", "Use printable characters.")
        if list(names).count(name) > 1:
            raise DynamicIDError("--name", f"'{name}' is given twice.", "Give each run a name of its own.")
    return names


def _names_of(folders: Sequence[Path]) -> list[str]:
    """The folders' names; "scores", "scores (2)" where several have the same."""
    names: list[str] = []
    for folder in folders:
        plain = name = printable(folder.resolve().name) or "run"
        number = 1
        while name in names:
            number += 1
            name = f"{plain} ({number})"
        names.append(name)
    return names


def _read_run(folder: Path, name: str) -> Run:
    for file in (_TABLE, _ROWS):
        if not (folder / file).is_file():
            remedy = "Name the --out folder of an `evaluate` run that went through."
            raise DynamicIDError(str(folder), f"There is no {file} in it.", remedy)
    table = _read_table_json(folder / _TABLE)
    rows = _read_rows(folder / _ROWS)
    if count_pictures(rows) != table.pictures:
        found = f"{_TABLE} counts {table.pictures} pictures, {_ROWS} {count_pictures(rows)}."
        raise DynamicIDError(str(folder), found, _AGAIN)
    return Run(name, table.setting, tuple(rows))


def _read_table_json(path: Path) -> _Table:
    try:
        table = _Table.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DynamicIDError(str(path), f"It cannot be read ({error.strerror}).", _AGAIN) from error
    except ValidationError as error:
        found = f"It is no table of `evaluate` ({describe_validation_error(error)})."
        raise DynamicIDError(str(path), found, _AGAIN) from error
    for key, metric in definitions().items():
        if table.metrics.get(key, {}).get("definition") != metric["definition"]:
            found = f"Its metric {metric['name']} is not defined as in this version of the pack."
            raise DynamicIDError(str(path), found, _AGAIN)
    return table


def _read_rows(path: Path) -> list[Row]:
    try:
        table = read_table(path)
        rows = table.to_pylist() if table.schema.equals(SCHEMA) else None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DynamicIDError(str(path), f"It cannot be read ({' '.join(str(error).split())}).", _AGAIN) from error
    if rows is None or not all(map(_is_complete, rows)):
        raise DynamicIDError(str(path), "It does not hold the columns and numbers that `evaluate` writes.", _AGAIN)
    return rows


def _is_complete(row: Row) -> bool:
    has_keys = all(row[name] is not None for name in ("item", "seed", "people"))
    return has_keys and all(row[metric.key] is None or math.isfinite(row[metric.key]) for metric in METRICS)


def _digest_if_given(text: str) -> str | None:
    return None if text.startswith(_NONE) else _digest_or_text(text)


def _text_if_given(text: str) -> str | None:
    return None if text.startswith(_NONE) else text


def _digest(text: str) -> str | None:
    """The digest at a text's end; None without one."""
    _, named, digest = text.rpartition(_NAMED)
    return digest if named else None


def _digest_or_text(text: str) -> str:
    return _digest(text) or text


def _without_digest(text: str) -> str:
    return text.partition(f", {_NAMED}")[0]


_AGAIN = "Score the pictures again with `evaluate folder`."
_MUST_AGREE: tuple[tuple[str, Callable[[str], str | None]], ...] = (
    ("benchmark", _digest_or_text),
    ("photos", _without_digest),
    ("photos", _digest),
    ("face_pack", _digest_or_text),
    ("emotion_model", _digest_if_given),
    ("clip", _digest_if_given),
    ("assignment", str),
    ("judges", _text_if_given),
    ("ground_truth", _text_if_given),
)
"""Settings that give the numbers their meaning, and the part of their text that must be equal. None is comparable with
everything: a run that was scored without that network, or before photos had a digest."""
