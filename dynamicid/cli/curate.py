"""``curate``: photos become training data of stage 2."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .output import RunByDefault, console, need_libraries, plain_errors, print_skipped, progress_bars

curate = typer.Typer(
    cls=RunByDefault,
    no_args_is_help=True,
    help="Make a data set for stage 2: curate PHOTOS --out FOLDER --face-pack FOLDER. See docs/data.md.",
)
Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Output folder; a rerun continues there.")]


@curate.command("run")
@plain_errors
def run(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Folders, tables, WebDataset shards.")],
    out: Out,
    face_pack: Annotated[Path, typer.Option(metavar="FOLDER", help="InsightFace pack: buffalo_l's ONNX files.")],
    emotion_model: Annotated[
        Path | None, typer.Option(metavar="FILE.onnx", help="Names expressions; default: from the landmarks.")
    ] = None,
    labels: Annotated[
        Literal["none", "given", "folders"],
        typer.Option(help="People by similar faces, by the field 'person', or by the first folder."),
    ] = "none",
    photos: Annotated[int, typer.Option(min=1, help="Most photos of a person.")] = 35,
    fewest: Annotated[int, typer.Option(min=1, help="People with fewer photos are rejected.")] = 2,
    size: Annotated[int, typer.Option(help="Pixels a side of a portrait.")] = 512,
    threshold: Annotated[
        str, typer.Option(metavar="auto|NUMBER", help="Mean ArcFace cosine above which groups are one person.")
    ] = "auto",
    duplicate_bits: Annotated[int, typer.Option(help="Most bits of 256 that differ between duplicates.")] = 10,
    several_faces: Annotated[Literal["drop", "largest"], typer.Option(help="Photos with more than one face.")] = "drop",
    smallest_face: Annotated[int, typer.Option(help="Pixels; shorter side of the face's box.")] = 48,
    confidence: Annotated[float, typer.Option(help="Lowest score of the detector.")] = 0.6,
    sharpness: Annotated[float, typer.Option(help="Lowest variance of the Laplacian.")] = 25.0,
    occlusion: Annotated[float, typer.Option(help="Largest hidden share of nose and cheeks.")] = 0.6,
    consent: Annotated[str, typer.Option(help="Recorded for photos that state none.")] = "",
    licence: Annotated[str, typer.Option(help="Recorded for photos that state none.")] = "",
    require_consent: Annotated[bool, typer.Option("--require-consent", help="Reject photos without consent.")] = False,
    part_size: Annotated[int, typer.Option(min=1, help="Photos per part, the unit that a crash repeats.")] = 256,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of processors to use; default: all.")] = None,
    gpus: Annotated[float, typer.Option(min=0, help="Share of a GPU per process.")] = 0.0,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster, as host:6379.")] = None,
) -> None:
    """Decode photos, find faces, group them by person, choose photos, write portraits and face prompts."""
    _need_libraries()
    from ..curation.curation import curate as run_curation
    from ..curation.expressions import find_emotion_model
    from ..curation.settings import Settings, parse_threshold

    settings = Settings(
        out=out.absolute(), inputs=tuple(path.absolute() for path in inputs), face_pack=face_pack.absolute(),
        labels=labels, consent=consent, licence=licence, require_consent=require_consent, photos=photos,
        several_faces=several_faces, size=size, fewest=fewest, threshold=parse_threshold(threshold),
        duplicate_bits=duplicate_bits, smallest_face=smallest_face, confidence=confidence, sharpness=sharpness,
        occlusion=occlusion, part_size=part_size,
        emotion_model=None if emotion_model is None else find_emotion_model(emotion_model.absolute()),
    )  # fmt: skip
    with progress_bars() as show:
        outcome = run_curation(settings, workers, address, gpus, show)
    text = f"{outcome.kept} of {outcome.listed} photos of {outcome.people} people in {settings.variface}."
    console().print(text, markup=False)
    print_skipped(sorted(outcome.reasons.items(), key=lambda item: (-item[1], item[0])), out)


@curate.command("remove")
@plain_errors
def remove(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The --out folder of a curation.")],
    person: Annotated[list[str] | None, typer.Option(help="A folder of variface, or a given label.")] = None,
    photo: Annotated[list[str] | None, typer.Option(help="A photo's id; see photos.parquet.")] = None,
    finish: Annotated[bool, typer.Option("--finish", help="Only finish an interrupted removal.")] = False,
) -> None:
    """Remove people or photos and everything computed from them; they are not listed again."""
    if not person and not photo and not finish:
        raise typer.BadParameter("Name a --person or a --photo.")
    _need_libraries()
    from ..curation.removal import remove as run_removal

    count, outcome = run_removal(out.absolute(), person or (), photo or ())
    console().print(f"Removed {count} photos; {outcome.kept} photos of {outcome.people} people remain.", markup=False)


@curate.command("report")
@plain_errors
def report(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The --out folder of a curation.")],
    person: Annotated[list[str] | None, typer.Option(help="Show this person only; may be repeated.")] = None,
) -> None:
    """Write the report again, with the photos of every person."""
    _need_libraries()
    from ..curation.curation import report_again

    console().print(f"Wrote {report_again(out.absolute(), person or ())}", markup=False)


def _need_libraries() -> None:
    # The pack's own module first: it sets what Ray reads from the environment.
    need_libraries(
        "curation", "requirements-curation.txt", "dynamicid.curation", "faiss", "igraph", "imagehash", "jinja2",
        "pyarrow", "ray.data", "scipy", "webdataset",
    )  # fmt: skip
