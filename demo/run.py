"""The demo from photos to files: runs inside the virtual environment, called by scripts/demo.py."""

from __future__ import annotations

import io
import json
import logging
import signal
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dynamicid.errors import DynamicIDError
from scripts._bootstrap import print_line
from tiny_models.places import COMFY_SIDE, PICTURE_SIZE

from .graphs import SamplingSettings, make_graph
from .models import Models, find_models
from .people import Person, find_people, input_names, read_photo, sample_photo
from .pictures import PictureSpec, drawn_prompts, photo_prompts, picture_specs
from .server import Comfy, DemoError
from .sheet import contact_sheet

PUBLISHED = SamplingSettings(size=512, steps=30, guidance=5.0)
TINY = SamplingSettings(COMFY_SIDE, steps=20, guidance=3.0, layout_strength=0.0, start_at=0.2, crop_size=PICTURE_SIZE)
"""Settings of the tiny models, with the layout strength and the steps by the base model alone of their evaluation."""
SHEET = "contact_sheet.png"


def run(options: Namespace, host: Path | None) -> None:
    """Runs the demo after the set-up; ends the process with a message where it fails.

    Args:
        options: Of the command line of scripts/demo.py.
        host: ComfyUI; None paints with diffusers.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # insightface 2.1 uses a deprecated name of scikit-image.
    warnings.filterwarnings("ignore", category=FutureWarning, module="insightface")
    # SIGTERM stops ComfyUI, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _run(options, host)
    except (DemoError, DynamicIDError) as error:
        sys.exit(f"Error: {error}")


def _run(options: Namespace, host: Path | None) -> None:
    started = time.monotonic()
    models = find_models(host, options.models, bool(options.photos))
    people = find_people(options.photos or models.photos or [sample_photo()], models.face_pack)
    prompts = (drawn_prompts if models.are_tiny else photo_prompts)(options.prompt)
    settings = _settings(options, TINY if models.are_tiny else PUBLISHED, prompts.negative)
    specs = picture_specs(len(people), prompts)
    options.out.mkdir(parents=True, exist_ok=True)
    if host is None:
        written = _paint_with_diffusers(options.out, models, settings, people, specs)
    else:
        written = _paint_in_comfyui(options.out, host, models, settings, people, specs)
    sheet = options.out / SHEET
    contact_sheet(people, specs, settings, models, options.out).save(sheet)
    hint = "" if host is None else " A .json or a picture dropped onto ComfyUI opens its graph:"
    print_line(f"Done in {time.monotonic() - started:.0f} s.{hint}")
    for path in (*written, sheet):
        print_line(f"  {path}")


def _settings(options: Namespace, defaults: SamplingSettings, negative: str) -> SamplingSettings:
    """The defaults with what the command line changes."""
    return replace(
        defaults,
        size=options.size or defaults.size,
        steps=options.steps or defaults.steps,
        negative=negative,
        seed=options.seed,
    )


def _paint_in_comfyui(
    folder: Path,
    host: Path,
    models: Models,
    settings: SamplingSettings,
    people: Sequence[Person],
    specs: Mapping[str, Sequence[PictureSpec]],
) -> list[Path]:
    """Runs one graph a group; the paths of the pictures and graphs written."""
    names = input_names([person.photo for person in people])
    inputs = [(names[person.photo], person.index) for person in people]
    written: list[Path] = []
    with Comfy(host, models.folders, {name: photo for photo, name in names.items()}) as comfy:
        for number, (name, group) in enumerate(specs.items(), 1):
            print_line(f"Graph {number} of {len(specs)}: {name}")
            graph = make_graph(models, settings, inputs, group)
            for prefix, picture in comfy.paint(name, graph).items():
                written.append(folder / f"{prefix}.png")
                written[-1].write_bytes(picture)
            written.append(folder / f"{name}.json")
            written[-1].write_text(json.dumps(graph, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return written


def _paint_with_diffusers(
    folder: Path,
    models: Models,
    settings: SamplingSettings,
    people: Sequence[Person],
    specs: Mapping[str, Sequence[PictureSpec]],
) -> list[Path]:
    """Paints without a ComfyUI; the paths of the pictures written."""
    from .without_comfyui import DiffusersPainter

    print_line("No ComfyUI: the same pictures are painted with diffusers.")
    painter = DiffusersPainter(models, settings, [read_photo(person.photo) for person in people])
    written = []
    for number, (name, group) in enumerate(specs.items(), 1):
        print_line(f"Group {number} of {len(specs)}: {name}")
        for prefix, picture in painter.paint(group).items():
            written.append(folder / f"{prefix}.png")
            picture.save(written[-1])
    return written
