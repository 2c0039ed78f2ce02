"""The people of the demo: faces found in the photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dynamicid.faces.analysis import load_face_analysis
from dynamicid.faces.detected import choose_face, order_faces
from dynamicid.faces.drawing import face_crop_box
from dynamicid.files.pictures import read_picture
from dynamicid.files.skipped import BadSample
from scripts._bootstrap import print_line

from .server import DemoError

FACES_OF_A_SINGLE_PHOTO = 3


@dataclass(frozen=True)
class Person:
    """One face of one photo; `index` counts the photo's faces by size."""

    photo: Path
    index: int
    crop: Image.Image


def find_people(photos: Sequence[Path], face_pack: Path) -> list[Person]:
    """The largest face of each photo; of a single photo up to three.

    Args:
        photos: Picture files.
        face_pack: Folder of an InsightFace pack.

    Raises:
        DemoError: A photo cannot be read.
        DynamicIDError: A photo shows no face.
    """
    print_line("Looking for faces")
    analyzer = load_face_analysis(face_pack)
    people = []
    for photo in photos:
        pixels = read_photo(photo)
        faces = order_faces(analyzer.detect(pixels), "largest")
        choose_face(faces, "largest", 0, str(photo))
        count = min(len(faces), FACES_OF_A_SINGLE_PHOTO if len(photos) == 1 else 1)
        boxes = [face_crop_box(face.box_xyxy, *pixels.shape[:2], margin=0.4) for face in faces[:count]]
        people += [Person(photo, index, Image.fromarray(pixels).crop(box)) for index, box in enumerate(boxes)]
    if len(people) == 1:
        print_line(f"{photos[0].name} shows one face only. Give more photos for pictures of several people.")
    return people


def read_photo(photo: Path) -> np.ndarray:
    """(height, width, 3) uint8 RGB, rotated upright."""
    try:
        return read_picture(photo)
    except BadSample as error:
        raise DemoError(f"PHOTO: {photo} cannot be read as a picture ({error}). Save it as PNG or JPEG.") from error


def sample_photo() -> Path:
    """The group photo that the insightface package brings."""
    import insightface

    photo = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    if not photo.is_file():
        raise DemoError("PHOTO: none was given, and this insightface brings no sample. Name a photo of your own.")
    print_line(f"No photo was given; the sample of the insightface package is used: {photo}")
    return photo


def input_names(photos: Sequence[Path]) -> dict[Path, str]:
    """Photo -> its name in ComfyUI's input folder; a number is added where two photos have the same name."""
    names: dict[Path, str] = {}
    for photo in photos:
        taken = {name for other, name in names.items() if other != photo}
        name = photo.name
        if name in taken:
            name = f"{photo.stem}_{len(names) + 1}{photo.suffix}"
        names[photo] = name
    return names
