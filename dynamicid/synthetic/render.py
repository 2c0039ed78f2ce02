"""Scenes and portraits into pictures with annotations."""

import numpy as np

from ..errors import DynamicIDError
from ..faces.drawing import PORTRAIT_FACTOR, PORTRAIT_SHIFT
from .annotations import PictureAnnotation, annotate
from .captions import attributes, caption, portrait_attributes, portrait_caption
from .colours import SHIRTS
from .draw_background import new_background, new_wall
from .draw_objects import draw_object
from .draw_person import draw_person
from .head import FACE_HEIGHT, FOREHEAD, DrawnHead
from .scene import DrawnPerson, DrawnPortrait, Scene

SMALLEST, LARGEST = 16, 4096


def render_scene(scene: Scene, size: int) -> tuple[np.ndarray, PictureAnnotation]:
    """A scene as a picture.

    People further up are further away: they are drawn first. Objects stand in front.

    Args:
        scene: What to draw.
        size: Pixels a side.

    Returns:
        (size, size, 3) uint8 RGB, the same bytes for the same arguments; and what is in it.

    Raises:
        DynamicIDError: A size below 16 or above 4096.
    """
    check_size(size)
    canvas = new_background(size, scene.place, scene.wall, scene.number)
    heads = [head_of(person, size) for person in scene.people]
    for person, head in sorted(zip(scene.people, heads, strict=True), key=lambda pair: pair[0].y):
        draw_person(canvas, head, SHIRTS[person.shirt])
    for scene_object in scene.objects:
        draw_object(canvas, scene_object)
    faces = tuple(annotate(head) for head in heads)
    objects = tuple(scene_object.box_xyxy(size) for scene_object in scene.objects)
    return canvas.picture(), PictureAnnotation(scene.number, size, caption(scene), attributes(scene), faces, objects)


def render_portrait(portrait: DrawnPortrait, size: int) -> tuple[np.ndarray, PictureAnnotation]:
    """One face as a tight crop, as large and where ``faces.drawing.portrait_crop_box`` would cut it.

    Args:
        portrait: What to draw.
        size: Pixels a side.

    Returns:
        (size, size, 3) uint8 RGB, the same bytes for the same arguments; and what is in it.

    Raises:
        DynamicIDError: A size below 16 or above 4096.
    """
    check_size(size)
    face_height = size * portrait.zoom / PORTRAIT_FACTOR
    unit = face_height / FACE_HEIGHT
    # From the head's middle to the middle of the face's box, and from there to the picture's middle.
    x = size * (0.5 + portrait.shift_x)
    y = size * (0.5 + portrait.shift_y) - PORTRAIT_SHIFT * face_height - unit * (1 + FOREHEAD) / 2
    head = DrawnHead(portrait.identity, portrait.motion, (x, y), unit)
    canvas = new_wall(size, portrait.wall)
    draw_person(canvas, head, SHIRTS[portrait.shirt])
    canvas.light(portrait.light, portrait.tint if portrait.light > 0 else (120, 110, 130))
    words, asked_for = portrait_caption(portrait), portrait_attributes(portrait)
    return canvas.picture(), PictureAnnotation(portrait.number, size, words, asked_for, (annotate(head),))


def head_of(person: DrawnPerson, size: int) -> DrawnHead:
    """The head of a scene's person in a picture of ``size`` pixels a side."""
    return DrawnHead(person.identity, person.motion, (person.x * size, person.y * size), person.unit * size)


def check_size(size: int) -> None:
    """Refuses sizes that cannot be drawn.

    Raises:
        DynamicIDError: Below 16 or above 4096 pixels a side.
    """
    if not SMALLEST <= size <= LARGEST:
        raise DynamicIDError("--size", f"{size} pixels a side were asked for.", f"Use {SMALLEST} to {LARGEST}.")
