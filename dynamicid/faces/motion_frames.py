"""Motions for many pictures: presets, blends from one motion to another, gaps filled, smoothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from ..errors import DynamicIDError, check_range
from .expressions import Expression
from .frames import join_frames
from .head_model import Head, lift
from .motion import Motion
from .motion_sliders import EXPRESSIONS, POSES, RANGES, Sliders, move, words_of
from .prompts import describe_motion

FRONT = "front"
VIEWS: dict[str, dict[str, float]] = {FRONT: {"yaw": 0.0, "pitch": 0.0, "roll": 0.0}, **POSES}
CURVES = ("linear", "ease")
LARGEST_PRESET_STRENGTH = 1.5
MOST_FRAMES = 2000
LARGEST_SMOOTH = 20.0
_WINDOW = 3
"""Smoothing looks this many standard deviations to both sides."""


def preset_motions(base: Motion, expressions: str, views: str, strength: float) -> tuple[Motion, list[str]]:
    """All expressions in all views, view after view of each expression.

    Args:
        base: Whose face; its own expression and pose are taken off.
        expressions: Names of ``EXPRESSIONS``, separated by commas or lines.
        views: Names of ``VIEWS``, likewise.
        strength: Factor on the expressions; 0 = a face at rest, 1 = as ``EXPRESSIONS`` has them.

    Returns:
        F motions and a label for each.

    Raises:
        DynamicIDError: An unknown name, no name, or a strength out of range.
    """
    check_range("strength", strength, 0, LARGEST_PRESET_STRENGTH)
    chosen = [
        (expression, view)
        for expression in _names(expressions, EXPRESSIONS, "expressions")
        for view in _names(views, VIEWS, "views")
    ]
    motions = [
        move(base, Sliders(**VIEWS[view], expression=scaled(EXPRESSIONS[expression], strength), neutralise=True))
        for expression, view in chosen
    ]
    return join_frames(motions), [f"{expression}, {view}" for expression, view in chosen]


def scaled(expression: Expression, strength: float) -> Expression:
    """``expression`` times ``strength``, held within what the sliders allow."""
    return Expression(
        **{name: float(np.clip(value * strength, *RANGES[name])) for name, value in asdict(expression).items()}
    )


def _names(text: str, known: Collection[str], where: str) -> list[str]:
    names = [name.strip().lower() for name in text.replace("\n", ",").split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise DynamicIDError(where, f"There is no {name[:40]!r}.", f"Use some of: {', '.join(known)}.")
    if not names:
        raise DynamicIDError(where, "It is empty.", f"Use some of: {', '.join(known)}.")
    return names


def blend_motions(motion_a: Motion, motion_b: Motion, frames: int, curve: str) -> Motion:
    """From one motion to another; the first and the last frame are the two themselves.

    Args:
        motion_a: Where it begins; of several frames the last.
        motion_b: Where it ends; of several frames the first.
        frames: F, at least 2.
        curve: One of ``CURVES``: the same step from frame to frame, or slow at both ends.

    Raises:
        DynamicIDError: F out of range, or an unknown curve.
    """
    check_range("frames", frames, 2, MOST_FRAMES)
    if curve not in CURVES:
        raise DynamicIDError("curve", f"There is no {curve[:40]!r}.", f"Use one of: {', '.join(CURVES)}.")
    shares = np.linspace(0.0, 1.0, frames)
    if curve == "ease":
        shares = shares**2 * (3 - 2 * shares)
    return join_frames([_between(motion_a.frames[-1], motion_b.frames[0], float(share)) for share in shares])


def fill_gaps(motions: Sequence[Motion | None]) -> Motion:
    """F motions, of which some are not known: those are interpolated between their neighbours.

    Before the first and after the last known one they are the same as it. At least one is known.
    """
    known = [number for number, motion in enumerate(motions) if motion is not None]
    filled = []
    for number, motion in enumerate(motions):
        before, after = _neighbours(known, number)
        share = 0.0 if before == after else (number - before) / (after - before)
        filled.append(motion or _between(_given(motions[before]), _given(motions[after]), share))
    return join_frames(filled)


def _neighbours(known: Sequence[int], number: int) -> tuple[int, int]:
    place = int(np.searchsorted(known, number))
    return known[max(place - 1, 0)], known[min(place, len(known) - 1)]


def _given(motion: Motion | None) -> Motion:
    assert motion is not None
    return motion


def _between(a: Motion, b: Motion, share: float) -> Motion:
    """The head turns and changes in three dimensions; the words are those of the nearer motion."""
    if share in (0.0, 1.0):
        return b if share else a
    first, second = (lift(_array(motion.landmarks_106), _array(motion.pose)) for motion in (a, b))
    points, scale, centre, pose, residual = (
        (1 - share) * getattr(first, name) + share * getattr(second, name)
        for name in ("points", "scale", "centre", "pose", "residual")
    )
    landmarks = Head(points, scale, centre, pose, residual).seen(points, pose)
    return _described(landmarks, pose, (a if share < 0.5 else b).prompt)


def smooth_motion(motion: Motion, smooth: float) -> Motion:
    """Landmarks and poses averaged over neighbouring frames.

    Args:
        motion: F motions.
        smooth: Standard deviation of the Gaussian in frames; 0 = as they are.
    """
    if smooth == 0 or motion.frame_count == 1:
        return motion
    frames = motion.frames
    numbers = np.arange(len(frames))
    distance = (numbers[:, None] - numbers[None]) / smooth
    weights = np.where(np.abs(distance) <= _WINDOW, np.exp(-(distance**2) / 2), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    landmarks, poses = (
        np.tensordot(weights, np.stack([_array(getattr(frame, name)) for frame in frames]), axes=1)
        for name in ("landmarks_106", "pose")
    )
    prompts = (frame.prompt for frame in frames)
    return join_frames([_described(*values) for values in zip(landmarks, poses, prompts, strict=True)])


def _described(landmarks_106: np.ndarray, pose: np.ndarray, prompt: str) -> Motion:
    """A motion with the words of ``prompt`` for the expression, and those of ``pose`` for the view."""
    points, angles = (torch.from_numpy(np.ascontiguousarray(x)).float() for x in (landmarks_106, pose))
    return Motion(points, angles, describe_motion(pose, *words_of(prompt)))


def _array(values: Tensor) -> np.ndarray:
    return values.double().numpy()
