"""Nodes that make motions, one or many, for Edit Face, and the sheet that shows the pictures of many."""

from comfy_api.latest import io

from ..dynamicid.faces.contact_sheet import MOST_COLUMNS
from ..dynamicid.faces.motion_frames import (
    CURVES,
    LARGEST_PRESET_STRENGTH,
    LARGEST_SMOOTH,
    MOST_FRAMES,
    VIEWS,
    blend_motions,
)
from ..dynamicid.faces.motion_sliders import EXPRESSIONS, RANGES, sliders_from
from ..dynamicid.host.faces import Choice, motion_from_image, motion_from_landmarks
from ..dynamicid.host.images import labelled_sheet
from ..dynamicid.host.slider_motion import motion_presets, slider_motion
from .inputs import choice_inputs, face_analysis_input, unit_float
from .types import CATEGORY, SHOWN_FROM_CACHE, Face, FaceLandmarks, Motion, known_options


def smooth_input(**options):
    """How much motions of a video are smoothed, in frames."""
    return io.Float.Input(
        "smooth",
        default=0.0,
        min=0.0,
        max=LARGEST_SMOOTH,
        step=0.1,
        tooltip="Smooths head pose and landmarks over about this many frames to both sides. Neutral: 0.",
        **options,
    )


class DynamicIDMotionFromImage(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDMotionFromImage",
            display_name="Motion from Image",
            category=CATEGORY,
            **known_options(search_aliases=["expression", "head pose", "facial landmarks"]),
            description="Reads expression and head pose from a photo of any person, or from each frame of a video, as "
            "a target for Edit Face.",
            inputs=[
                face_analysis_input(),
                io.Image.Input(
                    "image",
                    tooltip="A photo with the wanted expression and head pose; a batch is the frames of a video, one "
                    "motion each. Frames without the face are interpolated.",
                ),
                *choice_inputs(),
                smooth_input(optional=True),
            ],
            outputs=[
                Motion.Output(display_name="motion"),
                io.Image.Output(display_name="preview", tooltip="The photos with the face that was used, 64 at most."),
            ],
        )

    @classmethod
    def execute(cls, face_analysis, image, pick, index, smooth=0.0) -> io.NodeOutput:
        return io.NodeOutput(*motion_from_image(face_analysis, image, Choice(pick, index), smooth))


_SLIDER_TOOLTIPS = {
    "yaw": "Turns the head, in degrees: below 0 to the picture's left, above 0 to its right. Neutral: 0.",
    "pitch": "Nods the head, in degrees: below 0 down, above 0 up. Neutral: 0.",
    "roll": "Leans the head, in degrees: below 0 to the picture's left, above 0 to its right. Neutral: 0.",
    "smile": "Corners of the mouth: -1 down, 1 a broad smile. Neutral: 0.",
    "mouth_open": "Opens the mouth: 1 as wide as it goes. Neutral: 0.",
    "eyebrows": "-1 drawn down and together, 1 raised. Neutral: 0.",
    "eyes_closed": "1 closes the eyes. Neutral: 0.",
    "squint": "1 narrows the eyes. Neutral: 0.",
    "pucker": "1 pushes the lips forward. Neutral: 0.",
    "jaw_sideways": "Moves the jaw: -1 to the picture's left, 1 to its right. Neutral: 0.",
}


class DynamicIDMotionSliders(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDMotionSliders",
            display_name="Motion Sliders",
            category=CATEGORY,
            **known_options(search_aliases=["expression", "head pose", "smile"]),
            description="Sets expression and head pose with sliders, for Edit Face. All sliders at 0 keep the photo's "
            "own motion.",
            inputs=[
                Face.Input("face", optional=True, tooltip="The person to start from; without, an average face."),
                Motion.Input("motion", optional=True, tooltip="A motion to start from instead of the face's own."),
                *(
                    io.Float.Input(
                        name,
                        default=0.0,
                        min=low,
                        max=high,
                        step=1.0 if high > 1 else 0.01,
                        display_mode=io.NumberDisplay.slider,
                        tooltip=_SLIDER_TOOLTIPS[name],
                    )
                    for name, (low, high) in RANGES.items()
                ),
                io.Boolean.Input(
                    "neutralise",
                    default=False,
                    tooltip="On: start from the person's face at rest and from the front, whatever the photo shows. "
                    "Neutral: off.",
                ),
            ],
            outputs=[
                Motion.Output(display_name="motion"),
                io.Image.Output(display_name="preview", tooltip="Landmarks before (amber) and after (green)."),
            ],
            **SHOWN_FROM_CACHE,
        )

    @classmethod
    def execute(cls, face=None, motion=None, neutralise=False, **sliders) -> io.NodeOutput:
        moved, preview, entry = slider_motion(face, motion, sliders_from(sliders, neutralise))
        return io.NodeOutput(moved, preview, ui={"dynamicid_motion": [entry]})


class DynamicIDMotionFromLandmarks(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDMotionFromLandmarks",
            display_name="Motion from Landmarks",
            category=CATEGORY,
            **known_options(search_aliases=["mediapipe", "blendshapes", "ARKit", "driving video"]),
            description="Reads expression and head pose from ComfyUI's own face landmarks (MediaPipe), as a target for "
            "Edit Face. Needs no InsightFace.",
            inputs=[
                FaceLandmarks.Input(
                    "face_landmarks",
                    tooltip="From Detect Face Landmarks (MediaPipe): one motion for each frame. Frames without the "
                    "face are interpolated.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=99,
                    tooltip="Which face of each frame, counted from 0. Neutral: 0, the first.",
                ),
                Face.Input("face", optional=True, tooltip="The person who gets the motion; without, an average face."),
                smooth_input(),
            ],
            outputs=[
                Motion.Output(display_name="motion"),
                io.Image.Output(
                    display_name="preview",
                    tooltip="Landmarks at rest (amber) and moved (green) of each frame, 64 at most.",
                ),
            ],
        )

    @classmethod
    def execute(cls, face_landmarks, index, smooth, face=None) -> io.NodeOutput:
        return io.NodeOutput(*motion_from_landmarks(face_landmarks, index, face, smooth))


class DynamicIDMotionPresets(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDMotionPresets",
            display_name="Motion Presets",
            category=CATEGORY,
            **known_options(search_aliases=["expression sheet", "character sheet", "emotions"]),
            description="Expressions in several views, all at once: one motion for each expression in each view, for "
            "Edit Face. Set the batch size of the latent to their number.",
            inputs=[
                Face.Input("face", optional=True, tooltip="The person who gets the motions; without, an average face."),
                io.String.Input(
                    "expressions",
                    default=", ".join(EXPRESSIONS),
                    multiline=True,
                    tooltip=f"Expressions, separated by commas: {', '.join(EXPRESSIONS)}.",
                ),
                io.String.Input(
                    "views",
                    default="front, left, right",
                    multiline=True,
                    tooltip=f"Views of each expression, separated by commas: {', '.join(VIEWS)}.",
                ),
                unit_float(
                    "strength",
                    1.0,
                    "How strong the expressions are. Neutral: 0, a face at rest.",
                    LARGEST_PRESET_STRENGTH,
                ),
            ],
            outputs=[
                Motion.Output(display_name="motion"),
                io.String.Output(display_name="labels", tooltip="A line for each motion, for Contact Sheet."),
            ],
        )

    @classmethod
    def execute(cls, expressions, views, strength, face=None) -> io.NodeOutput:
        return io.NodeOutput(*motion_presets(face, expressions, views, strength))


class DynamicIDBlendMotions(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDBlendMotions",
            display_name="Blend Motions",
            category=CATEGORY,
            **known_options(search_aliases=["interpolate motions", "animate expression", "morph"]),
            description="Goes from one motion to another in several frames, for Edit Face. Set the batch size of the "
            "latent to their number.",
            inputs=[
                Motion.Input("motion_a", tooltip="The first frame; of several motions the last."),
                Motion.Input("motion_b", tooltip="The last frame; of several motions the first."),
                io.Int.Input("frames", default=16, min=2, max=MOST_FRAMES, tooltip="Frames with both ends."),
                io.Combo.Input(
                    "curve",
                    options=list(CURVES),
                    default=CURVES[0],
                    tooltip="linear: equal steps. ease: slow at both ends. Neutral: linear.",
                ),
            ],
            outputs=[Motion.Output(display_name="motion")],
        )

    @classmethod
    def execute(cls, motion_a, motion_b, frames, curve) -> io.NodeOutput:
        return io.NodeOutput(blend_motions(motion_a, motion_b, frames, curve))


class DynamicIDContactSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDContactSheet",
            display_name="Contact Sheet",
            category=CATEGORY,
            **known_options(search_aliases=["image grid", "character sheet", "collage"]),
            description="Puts a batch of pictures on one sheet, each with its label below.",
            inputs=[
                io.Image.Input("image", tooltip="The pictures, row after row."),
                io.String.Input(
                    "labels",
                    default="",
                    multiline=True,
                    tooltip="A line for each picture, such as the labels of Motion Presets. Neutral: empty, no labels.",
                ),
                io.Int.Input(
                    "columns",
                    default=0,
                    min=0,
                    max=MOST_COLUMNS,
                    tooltip="Pictures in a row. Neutral: 0, about as many as rows.",
                ),
            ],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(cls, image, labels, columns) -> io.NodeOutput:
        return io.NodeOutput(labelled_sheet(image, labels, columns))
