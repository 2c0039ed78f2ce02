"""The commands of ``python -m dynamicid``."""

import typer

from .caption import caption
from .convert import convert
from .curate import curate
from .download import download
from .evaluate import evaluate
from .inspect_files import inspect
from .synthetic import synthetic
from .training import cache, train

app = typer.Typer(
    name="dynamicid",
    help="Weight files of DynamicID for ComfyUI: fetch, look into, put into one file. Training, data, evaluation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(download)
app.command()(inspect)
app.command()(convert)
app.command()(synthetic)
app.command()(caption)
app.add_typer(curate, name="curate")
app.add_typer(evaluate, name="evaluate")
app.add_typer(cache, name="cache")
app.add_typer(train, name="train")
