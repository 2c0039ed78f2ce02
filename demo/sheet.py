"""The demo's contact sheet: people, pictures and activation maps on one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dynamicid.faces.colours import PERSON_COLOURS
from dynamicid.faces.motion_frames import VIEWS as PRESETS
from dynamicid.faces.prompts import describe_pose

from .graphs import SamplingSettings
from .models import Models
from .people import Person
from .pictures import EXPRESSIONS, ONE_PERSON, ONE_PERSON_MOVED, VIEWS, PictureSpec

TILE = 224
GAP = 16
LINE, NOTE = 20, 15
MOST_NOTES = 4
HEAD = 76
FRAME = 2
INK, PALE, PAPER = (24, 24, 28), (110, 110, 118), (250, 250, 248)
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Tile:
    """A picture of the sheet.

    Args:
        picture: Any size.
        lines: Below it; the first one is its name.
        frames: Box of each person from 1 (x, y, width, height as shares), drawn in the person's colour.
    """

    picture: Image.Image
    lines: Sequence[str]
    frames: Mapping[int, Box] = field(default_factory=dict)


def contact_sheet(
    people: Sequence[Person],
    specs: Mapping[str, Sequence[PictureSpec]],
    settings: SamplingSettings,
    models: Models,
    folder: Path,
) -> Image.Image:
    """The sheet of all pictures.

    Args:
        people: Whose photos are shown first.
        specs: The pictures by graph.
        settings: How they were sampled.
        models: What they were painted with.
        folder: Holds the pictures.
    """

    def tile(name: str, spec: PictureSpec, *lines: str) -> Tile:
        with Image.open(folder / f"{name}.png") as picture:
            return Tile(picture.copy(), lines, dict(zip((p + 1 for p in spec.people), spec.boxes, strict=False)))

    one = specs[ONE_PERSON][0]
    groups = [spec for name, group in specs.items() if name not in (ONE_PERSON, ONE_PERSON_MOVED) for spec in group]
    rows = {
        "Reference photos": [
            Tile(person.crop, (f"person {n}", person.photo.name), {n: (0, 0, 1, 1)})
            for n, person in enumerate(people, 1)
        ],
        "One person": [tile(one.name, one, "person 1", one.prompt)],
    }
    for view in VIEWS:
        words = describe_pose(PRESETS[view]["pitch"], PRESETS[view]["yaw"])
        rows[f"The same person, {words}, with {len(EXPRESSIONS)} expressions"] = [
            tile(spec.name, spec, spec.motion.expression)
            for spec in specs[ONE_PERSON_MOVED]
            if spec.motion is not None and spec.motion.view == view
        ]
    if groups:
        rows["Several people in assigned places"] = [
            tile(spec.name, spec, " | ".join(f"person {p + 1}" for p in spec.people), spec.prompt) for spec in groups
        ]
        rows["The same pictures with every face repainted by itself"] = [
            tile(spec.repainted_name, spec, " | ".join(f"person {p + 1}" for p in spec.people))
            for spec in groups
            if spec.repainted_name
        ]
    rows["Activation maps: where each person entered, mean of all steps and layers (red: most)"] = [
        tile(name, spec, f"person {person + 1}", spec.name.replace("_", " "))
        for spec in (one, *groups)
        for person, name in zip(spec.people, spec.activation_names(), strict=True)
    ]
    return _draw("DynamicID demo", _details(settings, models), rows)


def _details(settings: SamplingSettings, models: Models) -> list[str]:
    """The lines under the title."""
    networks = "the tiny models" if models.are_tiny else f"{models.checkpoint}, {models.saa}"
    details = [f"{networks}; {settings.steps} DDIM steps, seed {settings.seed}"]
    if models.are_tiny:
        details.append(
            "Drawn people, a small model: it turns heads and smiles; the other expressions of its presets are faint."
        )
        details.append("With the published weights the same command paints photos.")
    return details


def _draw(title: str, details: Sequence[str], rows: Mapping[str, Sequence[Tile]]) -> Image.Image:
    """All tiles with captions.

    Args:
        title, details: Lines at the top.
        rows: Tiles by the row's heading.
    """
    columns = max(2, *(len(tiles) for tiles in rows.values()))
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    heights = {
        heading: 2 * LINE + GAP + TILE + max(len(_wrapped(measure, tile.lines[1:])) for tile in tiles) * NOTE + GAP
        for heading, tiles in rows.items()
    }
    head = HEAD + (len(details) - 1) * LINE
    size = (GAP + columns * (TILE + GAP), head + sum(heights.values()))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (GAP, GAP), title, 22, INK, size[0] - 2 * GAP)
    for number, line in enumerate(details):
        _write(draw, (GAP, GAP + 30 + number * LINE), line, 13, PALE, size[0] - 2 * GAP)
    top = head
    for heading, tiles in rows.items():
        _write(draw, (GAP, top), heading, 16, INK, size[0] - 2 * GAP)
        for column, tile in enumerate(tiles):
            corner = (GAP + column * (TILE + GAP), top + LINE + GAP // 2)
            _place(sheet, tile, corner)
            name, *notes = tile.lines
            _write(draw, (corner[0], corner[1] + TILE + 4), name, 14, INK, TILE)
            for number, line in enumerate(_wrapped(draw, notes)):
                _write(draw, (corner[0], corner[1] + TILE + 4 + LINE + number * NOTE), line, 12, PALE, TILE)
        top += heights[heading]
    return sheet


def _wrapped(draw: ImageDraw.ImageDraw, notes: Sequence[str]) -> list[str]:
    """The notes broken at blanks into lines of a tile's width."""
    font, lines = ImageFont.load_default(12), []
    for note in notes:
        line = ""
        for word in note.split():
            longer = f"{line} {word}".strip()
            if line and draw.textlength(longer, font=font) > TILE:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines[:MOST_NOTES]


def _place(sheet: Image.Image, tile: Tile, corner: tuple[int, int]) -> None:
    """The whole picture in the middle of its tile, with its frames."""
    factor = TILE / max(tile.picture.size)
    width, height = (max(1, round(side * factor)) for side in tile.picture.size)
    small = tile.picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(small)
    for person, (x, y, wide, high) in tile.frames.items():
        edges = (x * width, y * height, (x + wide) * width - 1, (y + high) * height - 1)
        draw.rectangle(tuple(map(round, edges)), outline=PERSON_COLOURS[person - 1], width=FRAME)
    sheet.paste(small, (corner[0] + (TILE - width) // 2, corner[1] + (TILE - height) // 2))


def _write(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, size: int, colour: tuple[int, int, int], room: int
) -> None:
    """One line, shortened where it does not fit."""
    font = ImageFont.load_default(size)
    if draw.textlength(text, font=font) > room:
        while text and draw.textlength(text + " ...", font=font) > room:
            text = text[:-1]
        text += " ..."
    draw.text(corner, text, font=font, fill=colour)
