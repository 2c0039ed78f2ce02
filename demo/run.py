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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dynamicid.errors import DynamicIDError
from dynamicid.faces.analysis import load_face_analysis
from dynamicid.faces.detected import choose_face, order_faces
from dynamicid.faces.drawing import face_crop_box
from scripts._bootstrap import print_line
from tiny_models.places import COMFY_SIDE

from .graphs import Settings, make_graph
from .models import Models, find_models
from .server import Comfy, DemoError
from .sheet import Tile, contact_sheet
from .shots import ALONE, EXPRESSIONS, MOVED, POSES, Shot, drawn_words, make_shots, photo_words

PUBLISHED = Settings(size=512, steps=30, guidance=5.0)
DRAWN = Settings(COMFY_SIDE, steps=20, guidance=3.0, layout_strength=0.0, alone_steps=4)
"""The drawn family as its table measures it."""
SHEET = "contact_sheet.png"
MOST_OF_ONE_PHOTO = 3


@dataclass(frozen=True)
class Person:
    """One face of one photo; `index` counts the photo's faces by size."""

    photo: Path
    index: int
    crop: Image.Image


def run(options: Namespace, host: Path | None) -> None:
    """Everything after the set-up; ends the process with a plain text where something is amiss.

    Args:
        options: Of demo.py's command line.
        host: ComfyUI; None where there is none, and the pictures are painted with diffusers then.
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


def _run(options: Namespace, host: Path | None) -> None:
    started = time.monotonic()
    models = find_models(host, options.models, bool(options.photos))
    people = _find_people(options.photos or models.photos or [_sample_photo()], models)
    words = (drawn_words if models.are_drawn else photo_words)(options.prompt)
    usual = DRAWN if models.are_drawn else PUBLISHED
    size, steps = options.size or usual.size, options.steps or usual.steps
    alone = round(steps * usual.alone_steps / usual.steps)
    settings = replace(usual, size=size, steps=steps, alone_steps=alone, negative=words.negative, seed=options.seed)
    shots = make_shots(len(people), words)
    options.out.mkdir(parents=True, exist_ok=True)
    written = (
        _paint_with_diffusers(options.out, models, settings, people, shots)
        if host is None
        else _paint_in_comfy(options.out, host, models, settings, people, shots)
    )
    sheet = options.out / SHEET
    _sheet(people, shots, settings, models, options.out).save(sheet)
    opens = "" if host is None else " A .json or a picture dropped onto ComfyUI opens its graph:"
    print_line(f"Done in {time.monotonic() - started:.0f} s.{opens}")
    for path in (*written, sheet):
        print_line(f"  {path}")


def _paint_in_comfy(
    folder: Path,
    host: Path,
    models: Models,
    settings: Settings,
    people: Sequence[Person],
    shots: Mapping[str, Sequence[Shot]],
) -> list[Path]:
    """Paints graph by graph; the paths of the pictures and graphs written."""
    names = _input_names([person.photo for person in people])
    inputs = [(names[person.photo], person.index) for person in people]
    written: list[Path] = []
    with Comfy(host, models.folders, {name: photo for photo, name in names.items()}) as comfy:
        for number, (name, group) in enumerate(shots.items(), 1):
            print_line(f"Graph {number} of {len(shots)}: {name}")
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
    settings: Settings,
    people: Sequence[Person],
    shots: Mapping[str, Sequence[Shot]],
) -> list[Path]:
    """Paints without a ComfyUI; the paths of the pictures written."""
    from .without_comfyui import Studio

    print_line("No ComfyUI: the same pictures are painted with diffusers.")
    studio = Studio(models, settings, [_read(person.photo) for person in people])
    written = []
    for number, (name, group) in enumerate(shots.items(), 1):
        print_line(f"Group {number} of {len(shots)}: {name}")
        for prefix, picture in studio.paint(group).items():
            written.append(folder / f"{prefix}.png")
            picture.save(written[-1])
    return written


def _sample_photo() -> Path:
    import insightface

    photo = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    if not photo.is_file():
        raise DemoError("PHOTO: none was given, and this insightface brings no sample. Name a photo of your own.")
    print_line(f"No photo was given; the sample of the insightface package is used: {photo}")
    return photo


def _find_people(photos: Sequence[Path], models: Models) -> list[Person]:
    """The largest face of each photo; of a single photo the three largest, if it shows as many."""
    print_line("Looking for faces")
    analyzer = load_face_analysis(models.face_pack)
    people = []
    for photo in photos:
        pixels = _read(photo)
        faces = order_faces(analyzer.detect(pixels), "largest")
        choose_face(faces, "largest", 0, str(photo))
        wanted = min(len(faces), MOST_OF_ONE_PHOTO if len(photos) == 1 else 1)
        boxes = [face_crop_box(face.box_xyxy, *pixels.shape[:2], margin=0.4) for face in faces[:wanted]]
        people += [Person(photo, index, Image.fromarray(pixels).crop(box)) for index, box in enumerate(boxes)]
    if len(people) == 1:
        print_line(f"{photos[0].name} shows one face only. Give more photos for pictures of several people.")
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


def _sheet(
    people: Sequence[Person],
    shots: Mapping[str, Sequence[Shot]],
    settings: Settings,
    models: Models,
    folder: Path,
) -> Image.Image:
    def tile(name: str, shot: Shot, *lines: str) -> Tile:
        with Image.open(folder / f"{name}.png") as picture:
            return Tile(picture.copy(), lines, dict(zip((p + 1 for p in shot.people), shot.boxes, strict=False)))

    alone = shots[ALONE][0]
    groups = [shot for name, group in shots.items() if name not in (ALONE, MOVED) for shot in group]
    rows = {
        "Reference photos": [
            Tile(person.crop, (f"person {n}", person.photo.name), {n: (0, 0, 1, 1)})
            for n, person in enumerate(people, 1)
        ],
        "One person": [tile(alone.name, alone, "person 1", alone.prompt)],
    }
    for pose in POSES:
        rows[f"The same person, {_view(shots[MOVED], pose)}, with {len(EXPRESSIONS)} expressions"] = [
            tile(shot.name, shot, shot.move.expression)
            for shot in shots[MOVED]
            if shot.move is not None and shot.move.pose == pose
        ]
    if groups:
        rows["Several people in assigned places"] = [
            tile(shot.name, shot, " | ".join(f"person {p + 1}" for p in shot.people), shot.prompt) for shot in groups
        ]
    rows["Activation maps: where each person entered, mean of all steps and layers (red: most)"] = [
        tile(name, shot, f"person {person + 1}", shot.name.replace("_", " "))
        for shot in (alone, *groups)
        for person, name in zip(shot.people, shot.activations(), strict=True)
    ]
    networks = "the drawn family" if models.are_drawn else f"{models.checkpoint}, {models.saa}"
    details = [f"{networks}; {settings.steps} DDIM steps, seed {settings.seed}"]
    if models.are_drawn:
        details.append(
            "Drawn people, a small model: it turns heads, smiles, looks surprised; sad, angry and neutral look alike."
        )
        details.append("With the published weights the same command paints photos.")
    return contact_sheet("DynamicID demo", details, rows)


def _view(shots: Sequence[Shot], pose: str) -> str:
    """The face prompt's words for a pose."""
    move = next(shot.move for shot in shots if shot.move is not None and shot.move.pose == pose)
    return move.prompt.partition("expression, ")[2]
