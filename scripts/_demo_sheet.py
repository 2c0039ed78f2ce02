"""The demo's contact sheet: people, pictures and activation maps on one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

TILE = 288
GAP = 16
LINE = 20
CAPTION_LINES = 2
HEAD = 76
INK, PALE, PAPER, WARNING = (24, 24, 28), (110, 110, 118), (250, 250, 248), (176, 32, 32)
STAND_IN_LABEL = "stand-in weights: not a likeness"
PHOTOS_HEADING = "People"

Tile = tuple[Image.Image, Sequence[str]]
"""A picture and the lines below it; the first line is its name."""


def contact_sheet(title: str, details: str, rows: Mapping[str, Sequence[Tile]], are_stand_ins: bool) -> Image.Image:
    """All tiles with captions.

    Args:
        title, details: Two lines at the top.
        rows: Tiles by the row's heading.
        are_stand_ins: Whether pictures get STAND_IN_LABEL; photos (PHOTOS_HEADING) get none.
    """
    columns = max(2, *(len(tiles) for tiles in rows.values()))
    row_height = LINE + GAP + TILE + CAPTION_LINES * LINE + GAP
    size = (GAP + columns * (TILE + GAP), HEAD + len(rows) * row_height)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (GAP, GAP), title, 22, INK, size[0] - 2 * GAP)
    _write(draw, (GAP, GAP + 30), details, 13, PALE, size[0] - 2 * GAP)
    for row, (heading, tiles) in enumerate(rows.items()):
        top = HEAD + row * row_height
        _write(draw, (GAP, top), heading, 16, INK, size[0] - 2 * GAP)
        for column, (picture, lines) in enumerate(tiles):
            corner = (GAP + column * (TILE + GAP), top + LINE + GAP // 2)
            _place(sheet, picture, corner)
            if are_stand_ins and heading != PHOTOS_HEADING:
                bottom = corner[1] + TILE
                draw.rectangle((corner[0], bottom - LINE - 4, corner[0] + TILE - 1, bottom - 1), fill=WARNING)
                _write(draw, (corner[0] + 6, bottom - LINE - 1), STAND_IN_LABEL, 14, (255, 255, 255), TILE - 12)
            for number, line in enumerate(lines[:CAPTION_LINES]):
                place = (corner[0], corner[1] + TILE + 4 + number * LINE)
                _write(draw, place, line, 14 if number == 0 else 12, INK if number == 0 else PALE, TILE)
    return sheet


def _place(sheet: Image.Image, picture: Image.Image, corner: tuple[int, int]) -> None:
    """The whole picture in the middle of its tile."""
    factor = TILE / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
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
