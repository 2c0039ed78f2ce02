"""The commands of ``python -m dynamicid``."""

import typer

from .convert import convert
from .download import download
from .inspect_files import inspect
from .synthetic import synthetic

app = typer.Typer(
    name="dynamicid",
    help="Weight files of DynamicID for ComfyUI: fetch them, look into them, put them into one file. And drawn data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(download)
app.command()(inspect)
app.command()(convert)
app.command()(synthetic)
