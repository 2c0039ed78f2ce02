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
from .render import render_portrait, render_scene
from .sampling import sample_portrait, sample_scene
from .scene import DrawnPerson, DrawnPortrait, Scene, SceneObject
from .splits import Split, number_in, people_of, pictures_of
from .writing import write_pictures, write_variface

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
    "Scene",
    "SceneObject",
    "Split",
    "attributes",
    "caption",
    "motion_prompt",
    "number_in",
    "people_of",
    "pictures_of",
    "portrait_attributes",
    "portrait_caption",
    "posed",
    "render_portrait",
    "render_scene",
    "sample_identity",
    "sample_motion",
    "sample_portrait",
    "sample_scene",
    "write_pictures",
    "write_variface",
]
