"""``synthetic``: drawn people with exact annotations, to train and to measure small models with."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import track

from ..errors import DynamicIDError
from .output import console, need_libraries, plain_errors

if TYPE_CHECKING:
    from ..synthetic import Split


Kind = Literal["scenes", "portraits", "variface"]


@plain_errors
def synthetic(
    out: Annotated[Path | None, typer.Argument(metavar="OUT", help="Folder to write into; made if missing.")] = None,
    kind: Annotated[
        Kind, typer.Option(help="Whole pictures, tight portraits, or many photos a person (VariFace layout).")
    ] = "scenes",
    count: Annotated[int, typer.Option(min=1, help="How many pictures; with variface, how many people.")] = 100,
    photos: Annotated[int, typer.Option(min=1, max=999, help="Photos a person, with variface.")] = 35,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 128,
    people: Annotated[str, typer.Option(metavar="N or N-M", help="How many people a scene has.")] = "1-3",
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other people and scenes.")] = 0,
    split: Annotated[
        Literal["train", "held_out"], typer.Option(help="Training data, or what is held out from it.")
    ] = "train",
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Also write labelled samples.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier data set in OUT.")] = False,
) -> None:
    """Draw a data set of people with exact captions, boxes, landmarks and poses."""
    if out is None and sheet is None:
        raise typer.BadParameter("Name a folder to write into, or --sheet FILE.png.")
    need_libraries("drawing", "requirements-training.txt", "skia")
    from ..synthetic import Split, check_sheet_path, prepare_folder, write_sheet

    part = Split(split)
    fewest_most = _people_range(people)
    if sheet is not None:
        check_sheet_path(sheet)
    if out is not None:
        jobs, total = _jobs(out, kind, count, photos, size, fewest_most, seed, part)
        prepare_folder(out, overwrite)
        for _ in track(jobs, "Drawing ...", total=total, console=console(stderr=True)):
            pass
        console().print(f"Wrote {total} pictures to {out}.", markup=False)
    if sheet is not None:
        write_sheet(sheet, size, seed, part, fewest_most)
        console().print(f"Wrote samples to {sheet}.", markup=False)


def _jobs(
    out: Path, kind: Kind, count: int, photos: int, size: int, people: tuple[int, int], seed: int, split: "Split"
) -> tuple[Iterable[Path], int]:
    """The pictures to come, each written when it is asked for, and their number."""
    from ..synthetic import (
        check_size,
        number_in,
        people_numbers,
        pictures_of,
        render_portrait,
        render_scene,
        sample_portrait,
        sample_scene,
        write_pictures,
        write_variface,
    )

    check_size(size)
    if kind == "variface":
        return write_variface(out, people_numbers(split, count), photos, size, seed, split), count * photos
    number_in(split, count - 1)
    numbers = pictures_of(split)[:count]
    if kind == "portraits":
        pictures = (render_portrait(sample_portrait(seed, number, split), size) for number in numbers)
    else:
        pictures = (render_scene(sample_scene(seed, number, split, people), size) for number in numbers)
    return write_pictures(out, pictures), count


def _people_range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    try:
        fewest, most = int(low), int(high or low)
    except ValueError:
        fewest, most = 0, 0
    if not 1 <= fewest <= most <= 3:
        raise DynamicIDError("--people", f"Found '{text}'.", "Use 1, 2, 3 or a range like 1-3.")
    return fewest, most
