"""Folders of published benchmarks, scored as they are. None of their pictures comes with this pack.

- MultiID-Bench (WithAnyone, arXiv 2510.14975; huggingface.co/datasets/WithAnyone/MultiID-Bench; non-commercial research
  only, not to be redistributed). One folder a picture, as its README and its own inference script have it: ``out.jpg``
  (painted), ``ori.jpg`` (ground truth), ``ref_1.jpg`` and so on (one a person), ``meta.json`` with the ``prompt``.
- MultiHuman-Testbench (arXiv 2506.20879; github.com/Qualcomm-AI-research/MultiHuman-Testbench; data under its Dataset
  Research License, faces of FFHQ, SFHQ and CelebA-HQ by its own script). ``data/multihuman_metadata.json``, a list of
  ``people`` (paths from the folder around ``data``) and ``prompt``; painted pictures ``<position in the list>.png``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ..errors import DynamicIDError
from ..files.digests import digest
from ..files.pictures import PHOTO_SUFFIXES, read_picture
from ..files.skipped import BadSample, Skipped, printable
from .benchmark import describe_validation_error, read_json
from .evaluation import check_judges, named_judges, open_networks, with_digest
from .measures import measure_likeness
from .recognition import Recognition, Truth, embedding_of, judged
from .report import write_report
from .scoring import MetricNetworks, ProgressCallback, Row
from .tables import Result, Setting, make_result, write_tables

METADATA = "multihuman_metadata.json"
_PAINTED, _TRUTH, _REFERENCE = "out", "ori", "ref_"


@dataclass(frozen=True)
class PublishedOptions:
    """What is scored, and with what.

    Attributes:
        folder: Of the benchmark, in one of the two layouts.
        pictures: The painted pictures, where the layout has them elsewhere.
        face_pack, clip, judges, out: As in ``evaluation.Options``.
    """

    folder: Path
    pictures: Path | None
    face_pack: Path
    out: Path
    clip: Path | None = None
    judges: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A painted picture of a published benchmark.

    Attributes:
        name: Of the sample in its benchmark.
        prompt: What was asked for.
        picture: The painted one.
        references: One photo for each person.
        truth: A picture of what was asked for; None if there is none.
    """

    name: str
    prompt: str
    picture: Path
    references: tuple[Path, ...]
    truth: Path | None = None


class _Meta(BaseModel):
    prompt: str


class _Entry(BaseModel):
    prompt: str
    people: Annotated[list[str], Field(min_length=1)]


Content = TypeVar("Content")
Found = tuple[list[Sample], list[Skipped]]


def score_published(options: PublishedOptions, show: ProgressCallback) -> Result:
    """Scores a published benchmark and writes tables and report.

    Raises:
        DynamicIDError: Neither of the two layouts, a network cannot be loaded, or nothing can be written.
    """
    check_judges(options.judges)
    name, samples, skipped = read_published(options.folder, options.pictures)
    networks = open_networks(options.face_pack, options.clip, options.judges)
    rows, unread = score_samples(samples, networks, show)
    references = sorted({path for sample in samples for path in sample.references if path.is_file()})
    setting = Setting(
        benchmark=f"{name}, SHA-256 {digest([(one.name, one.prompt, len(one.references)) for one in samples])[:16]}",
        pictures=(options.pictures or options.folder).name,
        photos=f"{len(references)} photos, SHA-256 {digest(*references)[:16]}",
        face_pack=with_digest(options.face_pack),
        emotion_model="none: no Expr",
        clip=with_digest(options.clip) if options.clip else "none: no CLIP-T",
        unpatched="none: no disturbance",
        assignment="by likeness",
        judges=named_judges(options.judges),
        ground_truth="the benchmark's" if any(one.truth for one in samples) else "none: no Sim(GT)",
    )
    result = make_result(setting, rows, [*skipped, *unread])
    write_tables(result, options.out)
    write_report(result, (), {}, options.out)
    return result


def read_published(folder: Path, pictures: Path | None) -> tuple[str, list[Sample], list[Skipped]]:
    """The benchmark's name, its painted pictures, and what is missing.

    Raises:
        DynamicIDError: Neither of the two layouts, or damaged metadata.
    """
    for metadata in (folder / "data" / METADATA, folder / METADATA):
        if metadata.is_file():
            if pictures is None:
                found = "MultiHuman-Testbench keeps painted pictures apart."
                raise DynamicIDError("--pictures", found, "Name the folder of <number>.png.")
            root = metadata.parent.parent if metadata.parent.name == "data" else folder
            return "MultiHuman-Testbench", *_read_multihuman(metadata, root, pictures)
    folders = sorted(path.parent for path in folder.glob("*/meta.json"))
    if not folders:
        found = f"{folder} has neither data/{METADATA} nor folders with a meta.json."
        raise DynamicIDError("FOLDER", found, "Name a folder in the layout of MultiHuman-Testbench or MultiID-Bench.")
    return "MultiID-Bench", *_read_multiid(folders)


def _read_multiid(folders: Sequence[Path]) -> Found:
    samples, skipped = [], []
    for folder in folders:
        files = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in PHOTO_SUFFIXES}
        references = [files[name] for name in sorted(files, key=_reference_number) if _reference_number(name)]
        meta = _load(folder / "meta.json", _Meta)
        if _PAINTED not in files or not references:
            lacks = f"no {_PAINTED}.jpg" if references else f"no {_REFERENCE}1.jpg"
            skipped.append(Skipped(printable(folder.name), lacks))
        else:
            truth = files.get(_TRUTH)
            samples.append(Sample(printable(folder.name), meta.prompt, files[_PAINTED], tuple(references), truth))
    return samples, skipped


def _reference_number(stem: str) -> int:
    """1 of "ref_1"; 0 of other names."""
    number = stem.removeprefix(_REFERENCE)
    return int(number) if stem.startswith(_REFERENCE) and number.isdecimal() else 0


def _read_multihuman(metadata: Path, root: Path, pictures: Path) -> Found:
    entries = _load(metadata, list[_Entry])
    samples, skipped = [], []
    for number, entry in enumerate(entries):
        picture = pictures / f"{number}.png"
        if picture.is_file():
            references = tuple(root / person for person in entry.people)
            samples.append(Sample(str(number), entry.prompt, picture, references))
        else:
            skipped.append(Skipped(str(number), "no picture of the item"))
    return samples, skipped


def _load(path: Path, kind: type[Content]) -> Content:
    remedy = "Take it from the benchmark as it is."
    content, _ = read_json(path, remedy)
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise DynamicIDError(str(path), f"{describe_validation_error(error)}.", remedy) from error


def score_samples(
    samples: Sequence[Sample], networks: MetricNetworks, show: ProgressCallback
) -> tuple[list[Row], list[Skipped]]:
    """One row a person of a picture, and the samples with a picture that cannot be read or a photo without a face."""
    recognisers = [Recognition(detector, {}) for detector in (networks.analyzer, *networks.judges)]
    rows: list[Row] = []
    skipped = []
    for done, sample in enumerate(samples, 1):
        try:
            rows += _score(sample, recognisers, networks)
        except BadSample as error:
            skipped.append(Skipped(sample.name, str(error)))
        show("scoring", done, len(samples))
    return rows, skipped


def _score(sample: Sample, recognisers: Sequence[Recognition], networks: MetricNetworks) -> list[Row]:
    image = _read(sample.picture, "picture")
    truth = None if sample.truth is None else Truth(sample.name, _read(sample.truth, "ground truth"))
    people = [str(path) for path in sample.references]
    for path in sample.references:
        _know(path, recognisers)
    pack, *judges = (recogniser.look(image, people, (), "likeness", truth) for recogniser in recognisers)
    assert pack is not None
    measured = measure_likeness((), pack, "likeness")
    clip_t = networks.prompt_fit.score(image, sample.prompt) if networks.prompt_fit else None
    return [
        {
            "item": sample.name, "seed": 0, "picture": sample.picture.name, "people": len(people), "place": place,
            "person": sample.references[place].name, "faces": len(pack.faces), "clip_t": clip_t, **columns, **added,
        }
        for place, (columns, added) in enumerate(
            zip(measured, judged(measured, judges, (), "likeness"), strict=True)
        )
    ]  # fmt: skip


def _know(path: Path, recognisers: Sequence[Recognition]) -> None:
    """Shows a person's photo to the recognisers that have not seen it."""
    new = [recogniser for recogniser in recognisers if str(path) not in recogniser.photos]
    if not new:
        return
    photo = _read(path, "photo of a person")
    for recogniser in new:
        try:
            recogniser.photos[str(path)] = embedding_of(photo, recogniser.detector)
        except BadSample as error:
            raise BadSample(f"photo of a person: {error}") from error


def _read(path: Path, what: str) -> np.ndarray:
    try:
        return read_picture(path)
    except BadSample as error:
        raise BadSample(f"{what}: {error}") from error
