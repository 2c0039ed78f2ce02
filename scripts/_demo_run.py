"""The demo from photos to files: runs inside the virtual environment, called by demo.py."""

from __future__ import annotations

import io
import json
import logging
import signal
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dynamicid.errors import DynamicIDError
from dynamicid.faces.analysis import choose_face, load_face_analysis, order_faces
from dynamicid.faces.drawing import face_crop_box

from ._bootstrap import say
from ._demo_graphs import ACTIVATION_SUFFIX, Settings, make_graphs
from ._demo_models import Models, find_models
from ._demo_server import Comfy, DemoError, Graph
from ._demo_sheet import PHOTOS_HEADING, Tile, contact_sheet

PUBLISHED_SIZE, PUBLISHED_STEPS = 512, 30
STAND_IN_SIZE, STAND_IN_STEPS = 256, 4
SHEET = "contact_sheet.png"


@dataclass(frozen=True)
class Person:
    """One face of one photo; `index` counts the photo's faces by size."""

    photo: Path
    index: int
    crop: Image.Image


def run(options: Namespace, host: Path) -> None:
    """Everything after the set-up; ends the process with a plain text where something is amiss.

    Args:
        options: Of demo.py's command line.
        host: ComfyUI.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # insightface 2.1 calls an older name of scikit-image's.
    warnings.filterwarnings("ignore", category=FutureWarning, module="insightface")
    # A polite kill stops ComfyUI, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _run(options, host)
    except (DemoError, DynamicIDError) as error:
        sys.exit(f"Error: {error}")


def _run(options: Namespace, host: Path) -> None:
    started = time.monotonic()
    models = find_models(host, options.models)
    people = _find_people(options.photos or [_sample_photo()], models)
    settings = Settings(
        prompt=options.prompt,
        expression=options.expression,
        size=options.size or (STAND_IN_SIZE if models.are_stand_ins else PUBLISHED_SIZE),
        steps=options.steps or (STAND_IN_STEPS if models.are_stand_ins else PUBLISHED_STEPS),
        seed=options.seed,
    )
    inputs = _input_names([person.photo for person in people])
    graphs = make_graphs(models, settings, [(inputs[person.photo], person.index) for person in people])
    options.out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with Comfy(host, models.folders, {name: photo for photo, name in inputs.items()}) as comfy:
        for number, (name, graph) in enumerate(graphs.items(), 1):
            say(f"Picture {number} of {len(graphs)}: {name}")
            written += _write(options.out, name, graph, comfy.paint(name, graph))
    sheet = options.out / SHEET
    _sheet(people, graphs, settings, models, options.out).save(sheet)
    say(f"Done in {time.monotonic() - started:.0f} s. A .json or a picture dropped onto ComfyUI opens its graph:")
    for path in (*written, sheet):
        say(f"  {path}")


def _sample_photo() -> Path:
    import insightface

    photo = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    if not photo.is_file():
        raise DemoError("PHOTO: none was given, and this insightface brings no sample. Name a photo of your own.")
    say(f"No photo was given; the sample of the insightface package is used: {photo}")
    return photo


def _find_people(photos: Sequence[Path], models: Models) -> list[Person]:
    """The largest face of each photo; of a single photo the second largest, too, if there is one."""
    say("Looking for faces")
    analyzer = load_face_analysis(models.face_pack)
    people = []
    for photo in photos:
        pixels = _read(photo)
        faces = order_faces(analyzer.detect(pixels), "largest")
        choose_face(faces, "largest", 0, str(photo))
        wanted = min(len(faces), 2 if len(photos) == 1 else 1)
        boxes = [face_crop_box(face.box_xyxy, *pixels.shape[:2], margin=0.4) for face in faces[:wanted]]
        people += [Person(photo, index, Image.fromarray(pixels).crop(box)) for index, box in enumerate(boxes)]
    if len(people) == 1:
        say(f"{photos[0].name} shows one face only. Give a second photo for a picture of two people.")
    return people


def _read(photo: Path) -> np.ndarray:
    """(height, width, 3) uint8 RGB, upright."""
    try:
        with Image.open(photo) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise DemoError(f"PHOTO: {photo} cannot be read as a picture ({error}). Save it as PNG or JPEG.") from error


def _input_names(photos: Sequence[Path]) -> dict[Path, str]:
    """Photo -> its name in ComfyUI's input folder; a number is added where two photos are called alike."""
    names: dict[Path, str] = {}
    for photo in photos:
        taken = {name for other, name in names.items() if other != photo}
        name = photo.name
        if name in taken:
            name = f"{photo.stem}_{len(names) + 1}{photo.suffix}"
        names[photo] = name
    return names


def _write(folder: Path, name: str, graph: Graph, pictures: dict[str, bytes]) -> list[Path]:
    """The graph and its pictures; the paths written."""
    paths = []
    for prefix in (name, name + ACTIVATION_SUFFIX):
        paths.append(folder / f"{prefix}.png")
        paths[-1].write_bytes(pictures[prefix])
    paths.append(folder / f"{name}.json")
    paths[-1].write_text(json.dumps(graph, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return paths


def _sheet(
    people: Sequence[Person], graphs: dict[str, Graph], settings: Settings, models: Models, folder: Path
) -> Image.Image:
    references: list[Tile] = [
        (person.crop, (f"person {number}", f"{person.photo.name}, face {person.index} by size"))
        for number, person in enumerate(people, 1)
    ]
    notes = {"one_person": "person 1", "one_person_edited": f"person 1, {settings.expression}"}
    several = " | ".join(f"person {number}" for number in range(1, len(people) + 1))

    def tile(name: str, note: str) -> Tile:
        with Image.open(folder / f"{name}.png") as picture:
            return picture.copy(), (f"{name}.png", note)

    rows = {
        PHOTOS_HEADING: references,
        "Pictures": [tile(name, notes.get(name, several)) for name in graphs],
        "Where person 1 entered, mean of all steps and layers": [
            tile(name + ACTIVATION_SUFFIX, "red: most, blue: nowhere") for name in graphs
        ],
    }
    details = (
        f"{models.checkpoint}, {models.saa}; {settings.size} x {settings.size}, {settings.steps} steps, "
        f"seed {settings.seed}" + (f'; "{settings.prompt}"' if settings.prompt else "")
    )
    return contact_sheet("DynamicID demo", details, rows, models.are_stand_ins)
