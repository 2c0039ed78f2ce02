"""Scores a folder of pictures and writes tables and a report: the end of `evaluate run` and `evaluate folder`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DynamicIDError
from ..faces.analysis import load_face_analysis
from ..faces.emotions import load_emotion_reader
from ..faces.recognisers import load_recogniser
from ..files.atomic import remove_partials
from ..files.digests import digest, digest_of_networks, sha256_of_files
from ..files.skipped import Skipped
from .benchmark import BENCHMARK, Item, LoadedBenchmark, load_benchmark
from .image_metrics import PromptFit
from .measures import Assignment
from .metrics import MOST_JUDGES
from .pictures import BenchmarkPerson, find_pictures, picture_files, read_people, split_by_people
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
        assignment: How faces find their people; see ``measures.own_faces``.
        judges: Folders of further InsightFace packs, at most ``MOST_JUDGES``.
        ground_truth: Folder of pictures of what was asked for, or None: no Sim(GT).
    """

    out: Path
    photos: Path
    face_pack: Path
    benchmark: Path = BENCHMARK
    most: int | None = None
    emotion_model: Path | None = None
    clip: Path | None = None
    assignment: Assignment = "boxes"
    judges: tuple[Path, ...] = ()
    ground_truth: Path | None = None


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
    check_judges(options.judges)
    loaded = load_benchmark(options.benchmark)
    networks = open_networks(options.face_pack, options.clip, options.judges, options.emotion_model)
    people, skipped = read_people(options.photos, loaded.benchmark, networks.analyzer)
    items, left_out = split_by_people(loaded.benchmark.first(options.most), people)
    return Session(options, loaded, networks, people, items, [*skipped, *left_out])


def open_networks(
    face_pack: Path, clip: Path | None, judges: Sequence[Path], emotion_model: Path | None = None
) -> MetricNetworks:
    """Loads what reads the pictures; see ``Options``."""
    return MetricNetworks(
        analyzer=load_face_analysis(face_pack),
        emotions=None if emotion_model is None else load_emotion_reader(emotion_model),
        prompt_fit=None if clip is None else PromptFit(clip),
        judges=tuple(map(load_recogniser, judges)),
    )


def check_judges(packs: Sequence[Path]) -> None:
    """At most MOST_JUDGES.

    Raises:
        DynamicIDError: More.
    """
    if len(packs) > MOST_JUDGES:
        remedy = "Name the packs that matter most."
        raise DynamicIDError("--judge-pack", f"There are {len(packs)} judges; {MOST_JUDGES} is the most.", remedy)


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
    painted, missing = find_pictures(pictures, session.items, known, unpatched, session.options.ground_truth)
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
        face_pack=with_digest(session.networks.analyzer.pack_dir),
        emotion_model=with_digest(options.emotion_model) if options.emotion_model else "none: no Expr",
        clip=with_digest(options.clip) if options.clip else "none: no CLIP-T",
        unpatched=unpatched.name if unpatched else "none: no disturbance",
        judges=named_judges(options.judges),
        ground_truth=_named_truth(options.ground_truth),
        assignment="by their boxes" if options.assignment == "boxes" else "by likeness",
    )


def named_judges(packs: Sequence[Path]) -> str:
    """The packs with their digests, for the record."""
    return "; ".join(map(with_digest, packs)) or "none: one recogniser only"


def _named_truth(folder: Path | None) -> str:
    if folder is None:
        return "none: no Sim(GT)"
    paths, _ = picture_files(folder, "--ground-truth")
    return f"{folder.name}, {len(paths)} pictures, SHA-256 {sha256_of_files(*paths)[:16]}"


def with_digest(network: Path) -> str:
    """A network file's or folder's name and digest."""
    return f"{network.name}, SHA-256 {digest_of_networks([network])}"
