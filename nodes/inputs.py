"""Inputs that several nodes share."""

from comfy_api.latest import io

from ..dynamicid.faces.detected import PICKS
from ..dynamicid.faces.regions import MAX_PEOPLE
from .types import Face, FaceAnalysis


def face_analysis_input():
    """The face finder."""
    return FaceAnalysis.Input("face_analysis", tooltip="InsightFace networks from Load Face Analysis.")


def people_inputs(tooltip: str):
    """``face_1`` to ``face_8``; each may be missing, so that bypassing or muting one person leaves the others."""
    return [Face.Input(f"face_{n}", optional=True, tooltip=tooltip.format(n=n)) for n in range(1, MAX_PEOPLE + 1)]


def choice_inputs():
    """Which of several faces is meant: ``pick`` and ``index``."""
    return [
        io.Combo.Input(
            "pick",
            options=list(PICKS),
            default=PICKS[0],
            tooltip="How the faces of the photo are ordered when there are several. Neutral: largest.",
        ),
        io.Int.Input(
            "index",
            default=0,
            min=0,
            max=99,
            tooltip="Which face in that order, counted from 0 as the preview numbers them. Neutral: 0, the first.",
        ),
    ]


def unit_float(name: str, default: float, tooltip: str, maximum: float = 1.0):
    """A share of 0 to ``maximum``."""
    return io.Float.Input(name, default=default, min=0.0, max=maximum, step=0.01, tooltip=tooltip)


class BoxesInput(io.String.Input):
    """A STRING that the canvas shows as boxes to draw (`web/region_editor.js`)."""

    def as_dict(self):
        return super().as_dict() | {"widgetType": "DYNAMICID_BOXES"}
