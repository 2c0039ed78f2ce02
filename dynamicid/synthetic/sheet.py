"""Contact sheets for people to look at: the same persons with all expressions and poses, and scenes with captions."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import DynamicIDError
from ..files.atomic import atomic_write
from .identity import sample_identity
from .motion import EXPRESSIONS, POSES, DrawnMotion, posed
from .render import render_portrait, render_scene
from .sampling import sample_scene
from .scene import DrawnPortrait
from .splits import Split, people_of, pictures_of

LABEL = 14
CAPTION_LINES = 4
PEOPLE_ROWS = 8
SCENE_COUNT = 18
GROUND = (255, 255, 255)
INK = (20, 20, 20)
Cell = tuple[str, np.ndarray]


def write_sheet(path: Path, size: int, seed: int, split: Split, people: tuple[int, int]) -> None:
    """Writes a PNG of labelled samples: eight people with every expression and pose, then eighteen scenes.

    Args:
        path: The .png file; an existing one is replaced.
        size: Pixels a side at which scenes are rendered; portraits have half of it. Both are shown enlarged.
        seed: Seed of the data set.
        split: Whose people and which scenes.
        people: Fewest and most people in a scene.

    Raises:
        DynamicIDError: Not a .png file, or it cannot be written.
    """
    check_sheet_path(path)
    sheet = _stacked(motion_rows(seed, split, max(size // 2, 32)) + scene_rows(seed, split, size, people))
    with atomic_write(path, where="--sheet") as partial:
        sheet.save(partial, format="PNG")


def check_sheet_path(path: Path) -> None:
    """Refuses what ``write_sheet`` would refuse, before any work is done.

    Raises:
        DynamicIDError: Not a .png file.
    """
    if path.suffix.lower() != ".png":
        raise DynamicIDError("--sheet", f"'{path}' is no .png file.", "Name one that ends in .png.")


def motion_rows(seed: int, split: Split, size: int) -> list[Image.Image]:
    """One row a person: seven expressions, then eight turned poses; ``size`` pixels a side, shown doubled."""
    motions: dict[str, DrawnMotion] = {
        **EXPRESSIONS,
        **{name: posed("neutral", name) for name in POSES if name != "front"},
    }
    rows = []
    for number in people_of(split)[:PEOPLE_ROWS]:
        who = sample_identity(seed, number)
        portraits = [
            (f"{number}: {name}" if name == "happy" else name, render_portrait(DrawnPortrait(0, who, motion), size)[0])
            for name, motion in motions.items()
        ]
        rows.append(_row(portraits, 2, 1))
    return rows


def scene_rows(seed: int, split: Split, size: int, people: tuple[int, int]) -> list[Image.Image]:
    """Rows of six scenes of ``size`` pixels a side, shown enlarged, with their captions."""
    cells = []
    for number in pictures_of(split)[:SCENE_COUNT]:
        picture, annotation = render_scene(sample_scene(seed, number, split, people), size)
        cells.append((annotation.caption, picture))
    factor = max(1, round(280 / size))
    return [_row(cells[start : start + 6], factor, CAPTION_LINES) for start in range(0, len(cells), 6)]


def _row(cells: Sequence[Cell], factor: int, label_lines: int) -> Image.Image:
    side = cells[0][1].shape[0] * factor
    row = Image.new("RGB", (side * len(cells), side + LABEL * label_lines + 4), GROUND)
    draw = ImageDraw.Draw(row)
    font = ImageFont.load_default(10)
    for position, (label, picture) in enumerate(cells):
        large = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
        row.paste(large, (position * side, 0))
        lines = textwrap.wrap(label, max(8, side // 5))[:label_lines]
        draw.multiline_text((position * side + 3, side + 1), "\n".join(lines), fill=INK, font=font, spacing=2)
    return row


def _stacked(rows: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), GROUND)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet
