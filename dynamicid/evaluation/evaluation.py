"""Scores a folder of pictures and writes tables and a report: the end of `evaluate run` and `evaluate folder`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..faces.analysis import load_face_analysis
from ..faces.emotions import load_emotion_reader
from ..files.atomic import remove_partials
from ..files.digests import digest, digest_of_networks
from ..files.skipped import Skipped
from .benchmark import BENCHMARK, Item, LoadedBenchmark, load_benchmark
from .image_metrics import PromptFit
from .metrics import Assignment
from .pictures import BenchmarkPerson, find_pictures, read_people, split_by_people
from .report import write_report
from .scoring import MetricNetworks, ProgressCallback, score_pictures
from .tables import Result, Setting, make_result, write_tables


@dataclass(frozen=True)
class Options:
    """What is measured, and with what.

    Attributes:
        out: Folder of everything that is written.
        photos: Folder with one photo for each person.
        face_pack: Folder with the InsightFace pack's ONNX files.
        benchmark: The benchmark file.
        most: Only the first items for each number of people; None = all.
        emotion_model: ONNX file, or None: no Expr.
        clip: Folder of a CLIP model, or None: no CLIP-T.
        assignment: How faces find their people; see ``metrics.measure_people``.
    """

    out: Path
    photos: Path
    face_pack: Path
    benchmark: Path = BENCHMARK
    most: int | None = None
    emotion_model: Path | None = None
    clip: Path | None = None
    assignment: Assignment = "boxes"


@dataclass(frozen=True, eq=False)
class Session:
    """A benchmark with its people and networks, ready to be painted or scored.

    Attributes:
        options: As given.
        loaded: The benchmark.
        networks: What reads the pictures.
        people: By slot.
        items: Those all of whose people have a photo.
        skipped: Photos and items that cannot be used.
    """

    options: Options
    loaded: LoadedBenchmark
    networks: MetricNetworks
    people: dict[str, BenchmarkPerson]
    items: list[Item]
    skipped: list[Skipped] = field(default_factory=list)


def open_session(options: Options) -> Session:
    """Loads benchmark, networks and photos, and removes what a killed run left in ``options.out``.

    Raises:
        DynamicIDError: One of them cannot be loaded.
    """
    remove_partials(options.out)
    loaded = load_benchmark(options.benchmark)
    networks = MetricNetworks(
        analyzer=load_face_analysis(options.face_pack),
        emotions=None if options.emotion_model is None else load_emotion_reader(options.emotion_model),
        prompt_fit=None if options.clip is None else PromptFit(options.clip),
    )
    people, skipped = read_people(options.photos, loaded.benchmark, networks.analyzer)
    items, left_out = split_by_people(loaded.benchmark.first(options.most), people)
    return Session(options, loaded, networks, people, items, [*skipped, *left_out])


def evaluate(
    session: Session, pictures: Path, unpatched: Path | None, skipped: Sequence[Skipped], show: ProgressCallback
) -> Result:
    """Scores a folder and writes everything.

    Args:
        session: From ``open_session``.
        pictures: Folder of ``<item>_<seed>.png``.
        unpatched: Folder of the same names by the model alone.
        skipped: What painting could not do.
        show: Called after each picture.

    Raises:
        DynamicIDError: No such folder, or nothing can be written.
    """
    options = session.options
    known = session.loaded.benchmark.items
    painted, missing = find_pictures(pictures, session.items, known, unpatched)
    rows, unread = score_pictures(painted, session.people, session.networks, options.assignment, show)
    result = make_result(
        _setting(session, pictures, unpatched),
        rows,
        [*session.skipped, *skipped, *missing, *unread],
    )
    write_tables(result, options.out)
    write_report(result, painted, session.people, options.out)
    return result


def _setting(session: Session, pictures: Path, unpatched: Path | None) -> Setting:
    options, loaded = session.options, session.loaded
    photos = digest({slot: person.digest for slot, person in session.people.items()})[:16]
    return Setting(
        benchmark=f"{loaded.name}, version {loaded.benchmark.version}, SHA-256 {loaded.digest}",
        pictures=pictures.name,
        photos=f"{len(session.people)} people, SHA-256 {photos}",
        face_pack=_with_digest(session.networks.analyzer.pack_dir),
        emotion_model=_with_digest(options.emotion_model) if options.emotion_model else "none: no Expr",
        clip=_with_digest(options.clip) if options.clip else "none: no CLIP-T",
        unpatched=unpatched.name if unpatched else "none: no disturbance",
        assignment="by their boxes" if options.assignment == "boxes" else "by likeness",
    )


def _with_digest(network: Path) -> str:
    return f"{network.name}, SHA-256 {digest_of_networks([network])}"
