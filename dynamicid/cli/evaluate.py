"""``evaluate``: how well pictures show the people, expressions and poses that were asked for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .output import RunByDefault, console, need_libraries, plain_errors, print_skipped, progress_bars

if TYPE_CHECKING:
    from ..evaluation.compare import Comparison
    from ..evaluation.tables import Result


evaluate = typer.Typer(
    cls=RunByDefault,
    no_args_is_help=True,
    help="Paint a benchmark on a ComfyUI and score it, score a folder, compare runs. See docs/evaluation.md.",
)
Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Everything is written there; a rerun goes on.")]
Photos = Annotated[
    Path, typer.Option(metavar="FOLDER", help="One photo a person; in the order of their names they fill the slots.")
]
FacePack = Annotated[Path, typer.Option(metavar="FOLDER", help="InsightFace pack: buffalo_l's ONNX files.")]
BenchmarkFile = Annotated[
    Path | None, typer.Option("--benchmark", metavar="FILE", help="Another benchmark than the pack's.")
]
Most = Annotated[int | None, typer.Option(min=1, help="Only the first items of each number of people.")]
EmotionModel = Annotated[
    Path | None, typer.Option(metavar="FILE.onnx", help="Reads expressions; without it there is no Expr.")
]
Clip = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="As openai/clip-vit-base-patch16 has it; without it there is no CLIP-T."),
]
AssignBy = Annotated[
    Literal["boxes", "likeness"],
    typer.Option(help="Who is who in a group: by place, or by likeness where no box was given."),
]
JudgePack = Annotated[
    list[Path] | None,
    typer.Option(metavar="FOLDER", help="InsightFace pack of another recogniser; every likeness is given by it, too."),
]
GroundTruth = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Pictures of what was asked for, <item>.png: Sim(GT) and copy-paste."),
]
Seeds = Annotated[int, typer.Option(min=1, help="Pictures of each item.")]
FirstSeed = Annotated[int, typer.Option(min=0, help="Leave out that many of an item's seeds.")]
SERVER = "http://127.0.0.1:8188"


@evaluate.command("run")
@plain_errors
def run(
    workflow: Annotated[
        list[Path], typer.Option(metavar="FILE|FOLDER", help="In API format with placeholders; repeat for groups.")
    ],
    photos: Photos,
    face_pack: FacePack,
    out: Out,
    server: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help=f"Of the ComfyUI; repeat it to paint on several. Default: {SERVER}."),
    ] = None,
    unpatched: Annotated[
        list[Path] | None, typer.Option(metavar="FILE|FOLDER", help="Workflow of the model alone, for disturbance.")
    ] = None,
    output_node: Annotated[
        str | None, typer.Option(help="Id or title of the node whose picture counts; else the last Save Image.")
    ] = None,
    most_seconds: Annotated[float, typer.Option(min=1, help="A picture that takes longer is given up.")] = 1800,
    seeds: Seeds = 1,
    first_seed: FirstSeed = 0,
    benchmark: BenchmarkFile = None,
    most: Most = None,
    emotion_model: EmotionModel = None,
    clip: Clip = None,
    assign: AssignBy = "boxes",
    judge_pack: JudgePack = None,
    ground_truth: GroundTruth = None,
) -> None:
    """Paint the benchmark on running ComfyUIs, then score it."""
    _need_libraries()
    from ..evaluation.benchmark import BENCHMARK, seeds_of
    from ..evaluation.comfy_client import ComfyClient
    from ..evaluation.evaluation import Options, open_session
    from ..evaluation.evaluation import evaluate as work
    from ..evaluation.painting import BenchmarkPainter, RunManifest, paint_jobs
    from ..evaluation.workflows import load_workflows

    workflows = load_workflows(workflow)
    plain = load_workflows(unpatched) if unpatched else {}
    networks = (emotion_model, clip, assign, tuple(judge_pack or ()), ground_truth)
    session = open_session(Options(out, photos, face_pack, benchmark or BENCHMARK, most, *networks))
    seeds_by_item = {item.item: seeds_of(item, seeds, first_seed) for item in session.items}
    stages = [("painting", workflows, out / "pictures"), *([("unpatched", plain, out / "unpatched")] if plain else [])]
    skipped = []
    with progress_bars() as show:
        clients = [ComfyClient(address) for address in dict.fromkeys(server or [SERVER])]
        painter = BenchmarkPainter(
            clients, session.loaded.benchmark, session.people, RunManifest(out), output_node, most_seconds
        )
        for stage, files, folder in stages:
            folder.mkdir(parents=True, exist_ok=True)
            skipped += painter.paint(paint_jobs(session.items, seeds_by_item, folder), files, stage, show)
        result = work(session, out / "pictures", out / "unpatched" if plain else None, skipped, show)
    _print_result(result, out)


@evaluate.command("folder")
@plain_errors
def folder(
    pictures: Annotated[Path, typer.Option(metavar="FOLDER", help="Pictures named <item>_<seed>.png.")],
    photos: Photos,
    face_pack: FacePack,
    out: Out,
    unpatched: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The model's pictures without people, of the same names.")
    ] = None,
    benchmark: BenchmarkFile = None,
    most: Most = None,
    emotion_model: EmotionModel = None,
    clip: Clip = None,
    assign: AssignBy = "boxes",
    judge_pack: JudgePack = None,
    ground_truth: GroundTruth = None,
) -> None:
    """Score pictures that were painted elsewhere."""
    _need_libraries()
    from ..evaluation.benchmark import BENCHMARK
    from ..evaluation.evaluation import Options, open_session
    from ..evaluation.evaluation import evaluate as work

    networks = (emotion_model, clip, assign, tuple(judge_pack or ()), ground_truth)
    session = open_session(Options(out, photos, face_pack, benchmark or BENCHMARK, most, *networks))
    with progress_bars() as show:
        result = work(session, pictures, unpatched, (), show)
    _print_result(result, out)


@evaluate.command("published")
@plain_errors
def published(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="In the layout of MultiID-Bench or of MultiHuman-Testbench.")
    ],
    face_pack: FacePack,
    out: Out,
    pictures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="MultiHuman-Testbench: pictures named <number>.png.")
    ] = None,
    clip: Clip = None,
    judge_pack: JudgePack = None,
) -> None:
    """Score pictures that were painted for a published benchmark, in its own layout."""
    _need_libraries()
    from ..evaluation.published import PublishedOptions, score_published

    with progress_bars() as show:
        options = PublishedOptions(folder, pictures, face_pack, out, clip, tuple(judge_pack or ()))
        result = score_published(options, show)
    _print_result(result, out)


@evaluate.command("compare")
@plain_errors
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Two or more folders that `evaluate` wrote.")],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Gets compare.json, compare.md and compare.html; not a run's own.")
    ],
    name: Annotated[
        list[str] | None, typer.Option(help="Of each run, in their order; repeat it. Else the folders' names.")
    ] = None,
) -> None:
    """Put several runs side by side, with their differences to the first."""
    _need_libraries()
    from ..evaluation.compare import compare as work
    from ..evaluation.compare_report import check_out, write_comparison
    from ..evaluation.compare_runs import read_runs

    check_out(out, runs)
    comparison = work(read_runs(runs, name or ()))
    write_comparison(comparison, out)
    _print_differences(comparison, out)


@evaluate.command("drawn")
@plain_errors
def drawn(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Gets photos/, pictures/, unpatched/ and ground_truth/.")],
    control: Annotated[
        Literal["right", "pasted", "swapped", "constant"],
        typer.Option(help="Painted right, the photos pasted in, people swapped, or plain grey."),
    ] = "right",
    size: Annotated[int, typer.Option(min=64, max=1024, help="Pixels a side.")] = 128,
    seeds: Seeds = 1,
    first_seed: FirstSeed = 0,
    benchmark: BenchmarkFile = None,
    most: Most = None,
) -> None:
    """Draw the benchmark with people of the drawn world: pictures whose scores are known."""
    _need_libraries()
    need_libraries("drawing", "requirements-training.txt", "skia")
    from ..evaluation.benchmark import BENCHMARK, load_benchmark
    from ..evaluation.drawn import Control, DrawnBenchmark, write_drawn_benchmark

    drawn_benchmark = DrawnBenchmark(load_benchmark(benchmark or BENCHMARK).benchmark, size, seeds, first_seed, most)
    with progress_bars() as show:
        write_drawn_benchmark(drawn_benchmark, Control(control), out, lambda done, total: show("drawing", done, total))
    console().print(f"Wrote photos/, pictures/, unpatched/ and ground_truth/ in {out}.", markup=False)


@evaluate.command("placeholders")
@plain_errors
def placeholders() -> None:
    """List what a workflow may have filled in."""
    _need_libraries()
    from ..evaluation.workflows import EACH, WHOLE

    for name, meaning in WHOLE.items():
        console().print(f"{{{{{name}}}}}  {meaning}", markup=False)
    for name, meaning in EACH.items():
        console().print(f"{{{{{name}_1}}}}  {meaning}", markup=False)


def _print_result(result: "Result", out: Path) -> None:
    from rich.table import Table

    from ..evaluation.summary import format_summary

    if result.rows:
        table = Table("metric", *result.groups)
        for metric in result.measured():
            table.add_row(metric.name, *(format_summary(group[metric.key]) for group in result.groups.values()))
        console().print(table, markup=False)
    console().print(f"{result.pictures} pictures scored.", markup=False)
    print_skipped(result.reasons, out)


def _print_differences(comparison: "Comparison", out: Path) -> None:
    from rich.table import Table

    from ..evaluation.compare_report import describe_disagreements, format_difference
    from ..evaluation.summary import format_estimate

    first, *others = [run.name for run in comparison.runs]
    for name, group in comparison.groups.items():
        table = Table(name, first, *(f"{other} - {first}" for other in others))
        for column in group.columns:
            differences = (format_difference(column.metric, difference) for difference in column.differences)
            table.add_row(column.metric.name, format_estimate(column.means[0]), *differences)
        console().print(table, markup=False)
    for text in describe_disagreements(comparison):
        console().print(f"The recognisers disagree. {text}", markup=False)
    for run, left in zip(comparison.runs, comparison.left_out, strict=True):
        if left:
            text = f"{run.name}: {len(left)} of {len(run.items)} items left out, since not all runs have them"
            console().print(text, markup=False)
    console().print(f"All of it: {out / 'compare.html'}", markup=False)


def _need_libraries() -> None:
    need_libraries(
        "evaluation", "requirements-evaluation.txt", "jinja2", "matplotlib", "pyarrow", "pydantic", "scipy",
        "torchmetrics",
    )  # fmt: skip
