"""What the commands share: groups, consoles, one-line errors, readable sizes, and the table of networks."""

import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table
from typer.core import TyperGroup

from ..checkpoints.inspection import NetworkReport
from ..errors import DynamicIDError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

PIPE_WIDTH = 160
SHORT_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


class RunByDefault(TyperGroup):
    """A group of commands: ``curate PHOTOS ...`` is ``curate run PHOTOS ...``."""

    def parse_args(self, ctx, args: Sequence[str]) -> list[str]:
        words = list(args)
        if words and words[0] not in (*self.commands, "-h", "--help"):
            words = ["run", *words]
        return super().parse_args(ctx, words)


def need_libraries(purpose: str, requirements: str, *modules: str) -> None:
    """Loads libraries that only some commands need.

    Raises:
        typer.Exit: One is missing; it was named on stderr, with the command that installs it.
    """
    try:
        for module in modules:
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise fail(f"{purpose} needs '{error.name}': python -m pip install -r {requirements}") from error


def console(stderr: bool = False) -> Console:
    """A console on the present stdout or stderr; tables in a pipe or a log get room."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, soft_wrap=True, highlight=False, width=None if stream.isatty() else PIPE_WIDTH)


def fail(text: str, code: int = 1) -> typer.Exit:
    """Prints ``text`` on stderr in one line; raise what it returns."""
    console(stderr=True).print(f"[red]Error:[/red] {escape(text)}")
    return typer.Exit(code)


def plain_errors(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """A ``DynamicIDError`` of ``command`` becomes one line and exit code 1; Ctrl-C becomes exit code 130."""

    @functools.wraps(command)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except DynamicIDError as error:
            raise fail(str(error)) from error
        except KeyboardInterrupt as error:
            raise fail("interrupted; no incomplete file was left under its final name.", 130) from error

    return wrapped


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for every stage on stderr; the function to call as ``show(stage, done, total)``."""
    with Progress(console=console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield show


def print_skipped(reasons: Iterable[tuple[str, int]], out: Path) -> None:
    """Prints why things could not be used, each reason with its count, and the files in ``out`` that list them."""
    for reason, count in reasons:
        console().print(f"  {count} x {reason}", markup=False)
    console().print(f"Each one and why: {out / 'skipped.txt'}; all of it: {out / 'report.html'}", markup=False)


def readable_size(size: int | None) -> str:
    """Bytes as "157 MB" or "2.53 GB"."""
    if size is None:
        return "?"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def network_table(reports: Iterable[NetworkReport]) -> Table:
    """One row a network: depth, widths, rank, dtype, size, parameters."""
    table = Table("network", "depth", "widths", "rank", "dtype", "parameters", "size")
    for report in reports:
        details = report.details
        depth = f"{details['layers']} layers" if "layers" in details else str(details.get("depth", "-"))
        table.add_row(
            report.title,
            depth,
            _widths(report),
            str(details.get("rank", "-")),
            ", ".join(SHORT_DTYPES.get(dtype, dtype) for dtype in report.dtypes),
            f"{report.parameters:,}",
            readable_size(report.size),
        )
    return table


def _widths(report: NetworkReport) -> str:
    details = report.details
    if "layer_widths" in details:
        widths = sorted(set(details["layer_widths"]))
        return f"{', '.join(map(str, widths))}; text {details['text_width']}"
    if "stages" in details:
        widths = [details["stem_width"], *(width for width, _ in details["stages"]), details["out_width"]]
        return ", ".join(map(str, widths))
    return f"{details['width']} ({details['heads']} heads)" if "width" in details else "-"
