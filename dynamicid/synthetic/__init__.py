"""Drawn people with exact ground truth: pictures to train and to measure small models with.

An identity (who it is) and a motion (what the face does) are independent; a scene puts one to three of them at a place.
Rendering gives the picture and everything about it: caption, prompted attributes, boxes, key points, 106 landmarks and
head poses. All of it follows from a seed and a number. Needs skia-python (requirements-training.txt).
"""

from .annotations import FaceAnnotation, PictureAnnotation
from .captions import Attribute, attributes, caption, portrait_attributes, portrait_caption
from .face_landmarks import NUMBERING
from .identity import Identity, sample_identity
from .motion import EXPRESSIONS, POSES, DrawnMotion, motion_prompt, posed, sample_motion
from .placed_people import (
    Placement,
    draw_passport_photo,
    draw_placed_people,
    held_out_identity,
    paste_photos,
    plain_grey,
)
from .render import check_size, render_portrait, render_scene
from .sampling import sample_portrait, sample_scene
from .scene import DrawnPerson, DrawnPortrait, Scene, SceneObject
from .sheet import check_sheet_path, write_sheet
from .splits import Split, number_in, people_of, pictures_of
from .writing import people_numbers, prepare_folder, write_pictures, write_variface

__all__ = [
    "EXPRESSIONS",
    "NUMBERING",
    "POSES",
    "Attribute",
    "DrawnMotion",
    "DrawnPerson",
    "DrawnPortrait",
    "FaceAnnotation",
    "Identity",
    "PictureAnnotation",
    "Placement",
    "Scene",
    "SceneObject",
    "Split",
    "attributes",
    "caption",
    "check_sheet_path",
    "check_size",
    "draw_passport_photo",
    "draw_placed_people",
    "held_out_identity",
    "motion_prompt",
    "number_in",
    "paste_photos",
    "people_numbers",
    "people_of",
    "pictures_of",
    "plain_grey",
    "portrait_attributes",
    "portrait_caption",
    "posed",
    "prepare_folder",
    "render_portrait",
    "render_scene",
    "sample_identity",
    "sample_motion",
    "sample_portrait",
    "sample_scene",
    "write_pictures",
    "write_sheet",
    "write_variface",
]
