"""Motion from sliders: the landmarks move with a head model, and a face prompt says what they show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ..errors import DynamicIDError, check_range
from .expressions import Expression, express, neutralised
from .head_model import AVERAGE_FACE, lift, limited_pose, project
from .motion import Motion
from .prompts import NEUTRAL, describe_motion

# Slider -> smallest and largest value; 0 changes nothing. Degrees for the head, shares for the expression.
RANGES: dict[str, tuple[float, float]] = {
    "yaw": (-60.0, 60.0),
    "pitch": (-30.0, 30.0),
    "roll": (-45.0, 45.0),
    "smile": (-1.0, 1.0),
    "mouth_open": (0.0, 1.0),
    "eyebrows": (-1.0, 1.0),
    "eyes_closed": (0.0, 1.0),
    "squint": (0.0, 1.0),
    "pucker": (0.0, 1.0),
    "jaw_sideways": (-1.0, 1.0),
}
POSES: dict[str, dict[str, float]] = {
    "left": {"yaw": -35.0, "pitch": 0.0, "roll": 0.0},
    "right": {"yaw": 35.0, "pitch": 0.0, "roll": 0.0},
    "up": {"yaw": 0.0, "pitch": 20.0, "roll": 0.0},
    "down": {"yaw": 0.0, "pitch": -20.0, "roll": 0.0},
}

# Expression sliders of each preset, by the word the face prompt uses.
EXPRESSIONS: dict[str, Expression] = {
    "happy": Expression(smile=0.9, mouth_open=0.15, eyebrows=0.1, squint=0.35),
    "surprised": Expression(mouth_open=0.65, eyebrows=0.9),
    "sad": Expression(smile=-0.7, eyebrows=0.3, eyes_closed=0.25),
    "angry": Expression(smile=-0.35, eyebrows=-0.9, squint=0.45),
    "disgusted": Expression(smile=-0.6, eyebrows=-0.45, squint=0.7, pucker=0.3),
    "fearful": Expression(smile=-0.4, mouth_open=0.4, eyebrows=0.7),
    NEUTRAL: Expression(),
}
# Sliders that tell expressions apart; the jaw's side does not.
_TELLING = ("smile", "mouth_open", "eyebrows", "eyes_closed", "squint", "pucker")
_DETAILS = {"mouth_open": "mouth open", "eyes_closed": "eyes closed", "pucker": "lips puckered"}
_WORTH_A_DETAIL = 0.5
_FAINTEST = 0.12
_SLIGHT, _STRONG = 0.45, 1.15
_SIMILAR = 0.7
_BASE_EXPRESSION = re.compile(r"^in an? (.+?) expression")

# The average face in a portrait: as large as Encode Face cuts one, its middle a little below the picture's.
_PORTRAIT_SCALE = 205.0
_PORTRAIT_CENTRE = (256.0, 262.0)


@dataclass(frozen=True)
class Sliders:
    """All sliders of the node; all 0 = the motion as it is.

    Args:
        yaw: Degrees added, -60..60, positive = the face turns to the picture's right.
        pitch: Degrees added, -30..30, positive = up.
        roll: Degrees added, -45..45, positive = clockwise in the picture.
        expression: The other sliders.
        neutralise: Start from the person's face at rest, seen from the front, instead of the photo's own motion.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    expression: Expression = field(default_factory=Expression)
    neutralise: bool = False

    @property
    def is_neutral(self) -> bool:
        """Whether nothing moves."""
        return not (self.yaw or self.pitch or self.roll or self.neutralise) and self.expression.is_neutral


def sliders_from(values: Mapping[str, float], neutralise: bool = False) -> Sliders:
    """The sliders of a node or of a request.

    Args:
        values: Slider name -> value; those left out are 0.
        neutralise: See ``Sliders``.

    Raises:
        DynamicIDError: An unknown name, or a value outside its range.
    """
    for name, value in values.items():
        if name not in RANGES:
            raise DynamicIDError(name[:40], "There is no such slider.", f"The sliders are {', '.join(RANGES)}.")
        check_range(name, value, *RANGES[name])
    head = {name: values.get(name, 0.0) for name in ("yaw", "pitch", "roll")}
    rest = {name: value for name, value in values.items() if name not in head}
    return Sliders(**head, expression=Expression(**rest), neutralise=neutralise)


def average_motion() -> Motion:
    """An average face at rest from the front, in a 512 x 512 portrait: what sliders move where there is no photo."""
    landmarks = np.array(_PORTRAIT_CENTRE) + _PORTRAIT_SCALE * project(AVERAGE_FACE, np.zeros(3))
    pose = torch.zeros(3)
    return Motion(torch.from_numpy(landmarks).float(), pose, describe_motion(pose.tolist()))


def move(motion: Motion, sliders: Sliders) -> Motion:
    """The motion with the sliders' changes.

    Args:
        motion: Where the landmarks are, with the pose they were seen at.
        sliders: What to change.

    Returns:
        Landmarks within what a face can do, the pose held to what can be drawn, and a face prompt for both. With
        neutral sliders the very motion that was given.

    Raises:
        DynamicIDError: Landmarks or pose are no finite numbers.
    """
    if sliders.is_neutral:
        return motion
    landmarks, pose = motion.landmarks_106.double().numpy(), motion.pose.double().numpy()
    if not (np.isfinite(landmarks).all() and np.isfinite(pose).all()):
        raise DynamicIDError("motion", "Its landmarks or pose are not finite numbers.", "Encode the photo again.")
    head = lift(landmarks, pose)
    points = neutralised(head.points) if sliders.neutralise else head.points
    start = np.zeros(3) if sliders.neutralise else pose
    turned = limited_pose(start + np.array([sliders.pitch, sliders.yaw, sliders.roll]))
    # A photo beyond the limits keeps its own pose until a slider turns it.
    turned = np.where(turned == limited_pose(start), start, turned)
    seen = head.seen(express(points, sliders.expression), limited_pose(turned))
    prompt = describe_motion(turned, *_words(motion.prompt, sliders))
    return Motion(torch.from_numpy(seen).float(), torch.from_numpy(turned).float(), prompt)


def _words(base_prompt: str, sliders: Sliders) -> tuple[str, list[str]]:
    """Emotion and details; the base's own emotion while no expression slider is moved."""
    if sliders.expression.is_neutral and not sliders.neutralise:
        return words_of(base_prompt)[0], []
    return describe_expression(sliders.expression)


def words_of(prompt: str) -> tuple[str, list[str]]:
    """Emotion and details that a face prompt speaks of, as ``describe_motion`` takes them."""
    known = _BASE_EXPRESSION.match(prompt)
    return known[1] if known else NEUTRAL, [detail for detail in _DETAILS.values() if detail in prompt]


def describe_expression(expression: Expression) -> tuple[str, list[str]]:
    """The words for an expression: ("very surprised", []), ("neutral", ["eyes closed"]).

    The emotion is the preset with the smallest angle to the sliders, if its cosine is at least 0.7, and how strongly
    they lean that way. Details are strong sliders that the emotion's preset does not speak of.
    """
    values = _vector(expression)
    strong = [name for name in _DETAILS if getattr(expression, name) >= _WORTH_A_DETAIL]
    if np.abs(values).max() < _FAINTEST:
        return NEUTRAL, []
    presets = {word: _vector(preset) for word, preset in EXPRESSIONS.items() if word != NEUTRAL}
    cosines = {
        word: float(values @ preset / (np.linalg.norm(values) * np.linalg.norm(preset)))
        for word, preset in presets.items()
    }
    word = max(cosines, key=cosines.__getitem__)
    if cosines[word] < _SIMILAR:
        return NEUTRAL, [_DETAILS[name] for name in strong]
    details = [_DETAILS[name] for name in strong if getattr(EXPRESSIONS[word], name) < _WORTH_A_DETAIL]
    intensity = float(values @ presets[word] / (presets[word] @ presets[word]))
    if intensity < _SLIGHT:
        return f"slightly {word}", details
    return (f"very {word}" if intensity > _STRONG else word), details


def _vector(expression: Expression) -> np.ndarray:
    return np.array([getattr(expression, name) for name in _TELLING], dtype=np.float64)
