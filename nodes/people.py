"""Nodes that make, change, keep and compare faces."""

from comfy_api.latest import io

from ..dynamicid.faces.face import mix_faces
from ..dynamicid.faces.face_file import load_face
from ..dynamicid.host import folders
from ..dynamicid.host.editing import LARGEST_STRENGTH, edit_face
from ..dynamicid.host.faces import Choice, encode_face
from ..dynamicid.host.similarity import face_similarity
from .inputs import choice_inputs, face_analysis_input, unit_float
from .types import CATEGORY, DynamicID, Face, Motion, known_options


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
                    tooltip="Target landmarks; with several motions the face gets as many. Unconnected: only the "
                    "prompts drive the edit.",
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
