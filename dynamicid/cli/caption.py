"""``caption``: a text beside every photo of stage 1."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from ..errors import DynamicIDError
from ..files.skipped import summary
from .output import console, need_libraries, plain_errors


@plain_errors
def caption(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photos; subfolders are read, too.")],
    model: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Vision-language model in transformers' layout.")
    ] = None,
    face_pack: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Without --model: InsightFace pack, for templates.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace texts that are there.")] = False,
) -> None:
    """Write a caption beside every photo that has none: <photo>.txt."""
    if (model is None) == (face_pack is None):
        raise DynamicIDError("--model", "Captions come from a model or from templates.", "Name --model or --face-pack.")
    need_libraries("captions", "requirements-training.txt", "accelerate", "diffusers", "transformers")
    from ..training.captions import ModelCaptioner, TemplateCaptioner, write_captions
    from ..training.config import BaseSection
    from ..training.processes import process_state
    from ..training.readers import open_analyzer

    if model is None:
        captioner = TemplateCaptioner(open_analyzer(BaseSection(model=Path(), face_pack=face_pack)))
    else:
        captioner = ModelCaptioner(model, process_state().device)

    def show(photos: list[Path]) -> Iterator[Path]:
        yield from track(photos, "Describing ...", console=console(stderr=True))

    count, skipped = write_captions(folder, captioner, overwrite, show)
    console().print(f"Wrote {count} captions; {summary(skipped)}.", markup=False)
