"""The results of the evaluation as files: JSON, a Markdown page, a sheet of examples."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..places import PICTURE_SIZE
from .benchmark import Case, Group
from .evaluation import Extent, Table
from .metrics import MEANINGS, Summary
from .token_probe import MEANINGS as TOKEN_MEANINGS
from .variants import FULL, Variant

JSON_NAME, PAGE_NAME, SHEET_NAME = "table.json", "table.md", "examples.png"
DRAWN = "the drawn pictures through the autoencoder: a ceiling"
HEADS = {
    "prompt": "prompt", "shirts": "shirts", "face_sim": "FaceSim", "expr": "Expr", "pose": "Pose",
    "assigned": "assigned", "each_once": "all right", "count": "faces right",
}  # fmt: skip
ACCURACY_LINES = (
    "people", "place", "wall", "object", "object colour", "shirt", "expression", "pose within 15 degrees",
    "number of faces found", "identity: area under the curve", "identity: right among 2", "identity: right among 3",
    "identity: right among 50", "identity: cosine of the same", "identity: cosine of others",
)  # fmt: skip
SWEEP_NOTE = "Identities and LoRAs act from the first step, as with the node's defaults."
TOKENS_NOTE = (
    "Expression and pose predicted from the identity tokens themselves, before any UNet paints them, by ridge "
    "regression on the tokens of other people's portraits."
)
TOKEN_ROWS = {
    "plain": "the photo's own tokens: without IMR",
    "edited": "rewritten by the IMR",
    "ideal": "of a photo in the target motion: a ceiling",
}
_SWEEP = ("prompt", "shirts", "face_sim", "assigned", "count", "expr", "pose")
_LABEL_HEIGHT = 14


@dataclass(frozen=True)
class Results:
    """Everything that goes into the files.

    Attributes:
        extent: How many pictures were painted.
        tables: One for each group.
        sweep: Group -> layout -> score -> summary.
        activation: Group -> layout -> part of the picture -> mean activation.
        tokens: Group -> kind of tokens -> scores of the linear probe; empty without an IMR.
        accuracies: Held-out accuracies of the classifiers.
        titles: Variant -> its name on the page.
    """

    extent: Extent
    tables: Sequence[Table]
    sweep: Mapping[Group, Mapping[str, Mapping[str, Summary]]]
    activation: Mapping[Group, Mapping[str, Mapping[str, float]]]
    tokens: Mapping[Group, Mapping[str, Mapping[str, float]]]
    accuracies: Mapping[str, Mapping[str, float]]
    titles: Mapping[str, str]


def write_results(folder: Path, results: Results) -> None:
    """Writes ``table.json`` and ``table.md``."""
    content = {
        "about": {
            **asdict(results.extent),
            "meanings": MEANINGS,
            "meanings of tokens": TOKEN_MEANINGS,
            "classifiers": results.accuracies,
        },
        "table": {table.group.name: {"left out": table.left_out, **plain(table.rows)} for table in results.tables},
        "differences": {table.group.name: plain(named_differences(table.differences)) for table in results.tables},
        "motion in the tokens": {group.name: rows for group, rows in results.tokens.items()},
        "layout": {group.name: plain(rows) for group, rows in results.sweep.items()},
        "activation while the layout acts": {group.name: rows for group, rows in results.activation.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / PAGE_NAME).write_text(page(results), encoding="utf-8")


def page(results: Results) -> str:
    """The Markdown page."""
    extent = results.extent
    others = f" The first {extent.skipped} cases of each kind are left out." if extent.skipped else ""
    lines = [
        "# The tiny models, measured",
        "",
        "Held-out people in held-out pictures; each person's photo shows neither the expression nor the pose that is "
        f"asked for. {extent.seeds} seeds, {extent.steps} DDIM steps, the first {FULL.base_only_steps} of them by the "
        f"base model alone, guidance {extent.guidance:g}, no layout strength, where no row says otherwise. In "
        "brackets: 95 % interval over cases; after ±: standard deviation between the seeds. Made by `python "
        f"scripts/evaluate_family.py`.{others}",
        "",
        *(f"- **{HEADS[name]}**: {meaning}." for name, meaning in MEANINGS.items()),
    ]
    for table in results.tables:
        count = extent.seeds * (extent.cases - table.left_out)
        lines += ["", f"## {table.group.title}", "", f"{count} pictures a row.", ""]
        names = tuple(name for name in MEANINGS if table.group.people > 1 or name != "each_once")
        lines += _table({results.titles.get(name, DRAWN): row for name, row in table.rows.items()}, names)
        if table.differences:
            lines += ["", "Differences of the same pictures.", "", *_table(named_differences(table.differences), names)]
    if results.tokens:
        lines += ["", "## Motion in the tokens", "", TOKENS_NOTE, ""]
        lines += [f"- **{name}**: {meaning}." for name, meaning in TOKEN_MEANINGS.items()]
    for group, rows in results.tokens.items():
        lines += ["", f"{group.title}.", "", *_figures({TOKEN_ROWS[kind]: row for kind, row in rows.items()})]
    if results.sweep:
        lines += ["", "## Layout strength, and how long it acts", "", SWEEP_NOTE, ""]
    for group, rows in results.sweep.items():
        lines += [f"{group.title}.", "", *_table(rows, _SWEEP, brief=True), ""]
    for group, rows in results.activation.items():
        lines += [f"{group.title}: mean activation a' by part of the picture while the layout acts.", ""]
        lines += [*_figures(rows), ""]
    lines += ["", "## Accuracy of the classifiers", "", "On held-out people and scenes.", ""]
    by_line = {name: {kind: figures[name] for kind, figures in results.accuracies.items()} for name in ACCURACY_LINES}
    return "\n".join([*lines, *_figures(by_line)]) + "\n"


def _figures(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A table of plain numbers; all rows have the same columns."""
    columns = next(iter(rows.values()))
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    return lines + [f"| {name} | {' | '.join(f'{x:.3f}' for x in row.values())} |" for name, row in rows.items()]


def _table(rows: Mapping[str, Mapping[str, Summary]], names: Sequence[str], brief: bool = False) -> list[str]:
    return summary_table(rows, {name: HEADS[name] for name in names}, brief)


def summary_table(
    rows: Mapping[str, Mapping[str, Summary]], names: Mapping[str, str], brief: bool = False
) -> list[str]:
    """Lines of a table: ``rows`` by title, the columns ``names``: key -> head; ``brief``: means only."""
    head = [f"| | {' | '.join(names.values())} |", "|---|" + "---|" * len(names)]
    return head + [
        f"| {title} | {' | '.join(_cell(row[name], brief) for name in names)} |" for title, row in rows.items()
    ]


def _cell(summary: Summary, brief: bool) -> str:
    if math.isnan(summary.mean):
        return "-"
    if brief:
        return f"{summary.mean:.2f}"
    return f"{summary.mean:.3f} [{summary.low:.2f}, {summary.high:.2f}] ± {summary.spread:.3f}"


def named_differences(
    differences: Mapping[tuple[str, str], Mapping[str, Summary]],
) -> dict[str, Mapping[str, Summary]]:
    """Differences of two rows by one name."""
    return {f"{name} - {other}": row for (name, other), row in differences.items()}


def plain(rows: Mapping[str, Mapping[str, Summary]]) -> dict[str, Any]:
    """Numbers rounded to 1/10000, NaN as None."""
    return {
        variant: {
            name: {key: None if math.isnan(value) else round(value, 4) for key, value in asdict(summary).items()}
            for name, summary in row.items()
        }
        for variant, row in rows.items()
    }


def write_sheet(path: Path, examples: Sequence[tuple[Case, Mapping[Variant, np.ndarray]]]) -> None:
    """A PNG: a row for each case, with the photos, the drawn scene and the variants' pictures.

    Args:
        path: Where to.
        examples: Cases and their pictures (size, size, 3) uint8 by variant; the variants may differ from case to case.
    """
    wide = 2 + max(len(pictures) for _, pictures in examples)
    side, height = PICTURE_SIZE, PICTURE_SIZE + _LABEL_HEIGHT
    sheet = Image.new("RGB", (wide * side, len(examples) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (case, pictures) in enumerate(examples):
        shown = [("photos", _photos(case)), ("drawn", case.render()[0])]
        shown += [(variant.name, picture) for variant, picture in pictures.items()]
        for column, (name, picture) in enumerate(shown):
            sheet.paste(Image.fromarray(np.asarray(picture)), (column * side, row * height + _LABEL_HEIGHT))
            draw.text((column * side + 2, row * height + 1), name, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(256).save(path, optimize=True)


def _photos(case: Case) -> np.ndarray:
    """The subjects' photos on one square."""
    side = PICTURE_SIZE if len(case.subjects) == 1 else PICTURE_SIZE // 2
    square = Image.new("RGB", (PICTURE_SIZE, PICTURE_SIZE), "white")
    for number, subject in enumerate(case.subjects):
        place = (number % 2 * side, number // 2 * side)
        square.paste(Image.fromarray(subject.photo).resize((side, side), Image.Resampling.LANCZOS), place)
    return np.asarray(square)
