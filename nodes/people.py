"""Nodes that make, change, keep and compare faces."""

from comfy_api.latest import io

from ..dynamicid.faces.face import mix_faces
from ..dynamicid.faces.face_file import load_face
from ..dynamicid.faces.motion_sliders import RANGES, sliders_from
from ..dynamicid.host import folders
from ..dynamicid.host.editing import LARGEST_STRENGTH, edit_face
from ..dynamicid.host.faces import Choice, encode_face, motion_from_image
from ..dynamicid.host.similarity import face_similarity
from ..dynamicid.host.slider_motion import slider_motion
from .inputs import choice_inputs, face_analysis_input, unit_float
from .types import CATEGORY, SHOWN_FROM_CACHE, DynamicID, Face, Motion, known_options


class DynamicIDEncodeFace(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDEncodeFace",
            display_name="Encode Face",
            category=CATEGORY,
            **known_options(search_aliases=["face id", "reference photo", "id embedding"]),
            description="Turns one photo, or several photos of the same person, into a face.",
            inputs=[
                DynamicID.Input("dynamicid", tooltip="Networks from Load DynamicID."),
                face_analysis_input(),
                io.ClipVision.Input("clip_vision", tooltip="CLIP ViT-H/14 (laion2B-s32B-b79K) from Load CLIP Vision."),
                io.Image.Input(
                    "image", tooltip="A photo of the person; a batch is several photos of one person, averaged."
                ),
                *choice_inputs(),
                io.Combo.Input(
                    "crop",
                    options=["auto", "off"],
                    default="auto",
                    tooltip="auto: a photo that shows more than a portrait is cut to a portrait of the chosen face, as "
                    "in training. Neutral: off, the whole photo.",
                ),
            ],
            outputs=[
                Face.Output(display_name="face"),
                io.Image.Output(display_name="preview", tooltip="The photos with the face that was used."),
            ],
        )

    @classmethod
    def execute(cls, dynamicid, face_analysis, clip_vision, image, pick, index, crop) -> io.NodeOutput:
        choice = Choice(pick, index)
        return io.NodeOutput(*encode_face(dynamicid, face_analysis, clip_vision, image, choice, crop == "auto"))


class DynamicIDMotionFromImage(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDMotionFromImage",
            display_name="Motion from Image",
            category=CATEGORY,
            **known_options(search_aliases=["expression", "head pose", "facial landmarks"]),
            description="Reads expression and head pose from a photo of any person, as a target for Edit Face.",
            inputs=[
                face_analysis_input(),
                io.Image.Input("image", tooltip="One photo with the wanted expression and head pose."),
                *choice_inputs(),
            ],
            outputs=[
                Motion.Output(display_name="motion"),
                io.Image.Output(display_name="preview", tooltip="The photo with the face that was used."),
            ],
        )

    @classmethod
    def execute(cls, face_analysis, image, pick, index) -> io.NodeOutput:
        return io.NodeOutput(*motion_from_image(face_analysis, image, Choice(pick, index)))


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


class DynamicIDEditFace(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDEditFace",
            display_name="Edit Face",
            category=CATEGORY,
            **known_options(search_aliases=["change expression", "expression editor", "head pose"]),
            description="Gives a face another expression or head pose (IMR): by a prompt, a second photo, or both.",
            inputs=[
                DynamicID.Input("dynamicid", tooltip="Networks from Load DynamicID, with an IMR chosen there."),
                Face.Input("face", tooltip="The person; edit people before you mix them."),
                io.Clip.Input(
                    "clip", tooltip="CLIP of an SD1.5 checkpoint. Clip skip and prompt weights have no effect here."
                ),
                io.String.Input(
                    "target_prompt",
                    default="",
                    multiline=True,
                    tooltip='The wanted expression and view, such as "in a surprised expression, in side view". '
                    "Neutral: empty, the prompt that comes with the motion (from a photo: its head pose, and its "
                    "expression if there is an emotion model).",
                ),
                io.String.Input(
                    "source_prompt",
                    default="",
                    multiline=True,
                    tooltip="Expression and view in the reference photo. Neutral: empty, described from the photo: its "
                    "head pose, and its expression if there is an emotion model in models/dynamicid/emotion.",
                ),
                Motion.Input(
                    "motion",
                    optional=True,
                    tooltip="Target landmarks. Unconnected: only the prompts drive the edit.",
                ),
                unit_float(
                    "strength",
                    1.0,
                    "How far the edit goes. Neutral: 0, the face as it is; 1 = the full edit.",
                    LARGEST_STRENGTH,
                ),
            ],
            outputs=[
                Face.Output(display_name="face"),
                io.String.Output(display_name="source_prompt", tooltip="The source prompt used."),
            ],
        )

    @classmethod
    def execute(cls, dynamicid, face, clip, target_prompt, source_prompt, strength, motion=None) -> io.NodeOutput:
        return io.NodeOutput(*edit_face(dynamicid, face, clip, target_prompt, source_prompt, motion, strength))


class DynamicIDMixFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDMixFaces",
            display_name="Mix Faces",
            category=CATEGORY,
            **known_options(search_aliases=["blend faces", "merge faces", "average face"]),
            description="Mixes two faces into one identity, for Region and Apply. A mixed face cannot be edited or "
            "saved: edit or save the two faces first.",
            inputs=[
                Face.Input("face_a", tooltip="First person."),
                Face.Input("face_b", tooltip="Second person."),
                unit_float(
                    "ratio",
                    0.5,
                    "Share of face_a against face_b. 0.5 = equal shares; 1 = face_a with a trace of face_b.",
                ),
            ],
            outputs=[Face.Output(display_name="face")],
        )

    @classmethod
    def execute(cls, face_a, face_b, ratio) -> io.NodeOutput:
        return io.NodeOutput(mix_faces(face_a, face_b, ratio))


class DynamicIDSaveFace(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDSaveFace",
            display_name="Save Face",
            category=CATEGORY,
            **known_options(search_aliases=["export face", "face model"]),
            description="Saves a face as a safetensors file in output/dynamicid/faces. It holds biometric data: keep "
            "and share it only with the person's consent.",
            is_output_node=True,
            inputs=[
                Face.Input("face", tooltip="The person."),
                io.String.Input(
                    "name",
                    default="face",
                    tooltip="File name without suffix; / creates subfolders. If the name exists, a number is added.",
                ),
            ],
            outputs=[io.String.Output(display_name="path")],
        )

    @classmethod
    def execute(cls, face, name) -> io.NodeOutput:
        path = folders.save_new_face(face, name)
        return io.NodeOutput(str(path), ui={"text": (str(path),)})


class DynamicIDLoadFace(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDLoadFace",
            display_name="Load Face",
            category=CATEGORY,
            **known_options(search_aliases=["import face", "face model"]),
            description="Loads a face from output/dynamicid/faces or input/dynamicid/faces.",
            inputs=[
                io.Combo.Input("name", options=folders.face_options(), tooltip="A face file written by Save Face."),
            ],
            outputs=[Face.Output(display_name="face")],
        )

    @classmethod
    def validate_inputs(cls, name):
        # The host's own check says "not in list" and nothing more; execute says where the file belongs.
        return True

    @classmethod
    def fingerprint_inputs(cls, name):
        return folders.modified_face(name)

    @classmethod
    def execute(cls, name) -> io.NodeOutput:
        return io.NodeOutput(load_face(folders.face_path(name)))


class DynamicIDFaceSimilarity(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDFaceSimilarity",
            display_name="Face Similarity",
            category=CATEGORY,
            **known_options(search_aliases=["arcface", "compare faces", "face distance", "likeness"]),
            description="How much a picture's people look like a reference: cosine similarity of ArcFace embeddings.",
            inputs=[
                face_analysis_input(),
                io.Image.Input(
                    "reference", tooltip="Photo of the person; its largest face is used. A batch is averaged."
                ),
                io.Image.Input(
                    "image",
                    tooltip="Pictures to score: the most similar face of each counts; a picture without one counts 0.",
                ),
            ],
            outputs=[
                io.Float.Output(display_name="score", tooltip="-1 to 1, the mean over the pictures."),
                io.Image.Output(display_name="preview", tooltip="The pictures with the best face highlighted."),
            ],
        )

    @classmethod
    def execute(cls, face_analysis, reference, image) -> io.NodeOutput:
        return io.NodeOutput(*face_similarity(face_analysis, reference, image))
