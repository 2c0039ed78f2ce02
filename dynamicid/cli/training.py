"""``cache`` and ``train``: from folders of photos to weight files, one stage at a time."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..errors import DynamicIDError
from ..files.atomic import DiskFullError
from .output import console, need_libraries, plain_errors

SIGNALLED = 128
"""Exit codes of shells: this plus the signal's number, 143 after SIGTERM and 130 after Ctrl-C."""
Config = Annotated[
    Path,
    typer.Option(
        "--config", metavar="FILE.toml", help="Configuration; dynamicid/training/config.py documents its keys."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint of run.output.")]

cache = typer.Typer(
    help="Apply the frozen networks once, ahead of training: latents, texts, faces.", no_args_is_help=True
)
train = typer.Typer(
    help="Train: stage 1 (saa), then stage 2 (imr). On several GPUs: accelerate launch -m dynamicid train ...",
    no_args_is_help=True,
)


@cache.command("saa")
@plain_errors
def cache_saa(config: Config) -> None:
    """Stage 1: a folder of pictures with captions becomes shards."""
    _need_libraries()
    from ..training.cache_saa import cache_saa as run
    from ..training.config import SAAConfig, load_config

    _cache(lambda: run(load_config(config, SAAConfig)))


@cache.command("imr")
@plain_errors
def cache_imr(config: Config) -> None:
    """Stage 2: people's folders (VariFace layout) become shards."""
    _need_libraries()
    from ..training.cache_imr import cache_imr as run
    from ..training.config import IMRConfig, load_config

    _cache(lambda: run(load_config(config, IMRConfig)))


@train.command("saa")
@plain_errors
def train_saa(config: Config, resume: Resume = False) -> None:
    """Stage 1, anchoring: face projector and SAA layers."""
    _need_libraries()
    from ..training.config import SAAConfig, load_config
    from ..training.train_saa import train_saa as run

    _train(lambda: run(load_config(config, SAAConfig), resume))


@train.command("imr")
@plain_errors
def train_imr(config: Config, resume: Resume = False) -> None:
    """Stage 2, reconfiguration: IMR and key-point encoder."""
    _need_libraries()
    from ..training.config import IMRConfig, load_config
    from ..training.train_imr import train_imr as run

    _train(lambda: run(load_config(config, IMRConfig), resume))


def _cache(run: Callable[[], str]) -> None:
    report = run()
    if report:
        console().print(report, markup=False)


def _train(run: Callable[[], list[Path]]) -> None:
    from ..training.processes import Interrupted

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        for path in run():
            console().print(f"Wrote {path}", markup=False)
    except Interrupted as error:
        console().print(str(error), markup=False)
        raise typer.Exit(SIGNALLED + error.number) from error
    except DiskFullError as error:
        remedy = "Free some space; --resume goes on from the last checkpoint."
        raise DynamicIDError(error.where, error.found, remedy) from error


def _need_libraries() -> None:
    modules = ("accelerate", "diffusers", "pydantic", "tomli_w", "webdataset")
    need_libraries("training", "requirements-training.txt", *modules)
