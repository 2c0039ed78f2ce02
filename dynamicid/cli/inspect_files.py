"""``inspect``: what is this file, what does it hold, does it fit."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from ..checkpoints.bases import SUPPORTED_BASES
from ..checkpoints.inspection import UNKNOWN, FileReport, inspect_file
from .output import console, network_table, plain_errors, readable_size


@plain_errors
def inspect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Weight files.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say what weight files are, what they hold, and what is wrong with them. Exit code 1 if anything is."""
    with console(stderr=True).status("Reading ..."):
        reports = [inspect_file(file) for file in files]
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(report) for report in reports], indent=2))
    else:
        for report in reports:
            _describe(report)
    if any(report.problems for report in reports):
        raise typer.Exit(1)


def _describe(report: FileReport) -> None:
    out = console()
    known = report.kind != UNKNOWN
    kind = f"{report.kind} ({report.container}, {readable_size(report.size)})" if known else "not usable"
    out.print(f"{report.path}: {kind}", markup=False, style="bold")
    if report.networks:
        out.print(network_table(report.networks))
    if report.fits:
        base = next(base for base in SUPPORTED_BASES if base.name == report.fits)
        out.print(
            f"Fits {base.name} ({len(base.layer_widths)} attention layers, text width {base.text_width}).", markup=False
        )
    for note in report.notes:
        out.print(f"Note: {note}", markup=False)
    for problem in report.problems:
        out.print(f"Problem: {problem}", markup=False, style="red")
    if known and not report.problems:
        out.print("No problems found.", style="green")
