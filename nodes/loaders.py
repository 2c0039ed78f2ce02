"""Nodes that load networks."""

from comfy_api.latest import io

from ..dynamicid.checkpoints.weights import load_weights
from ..dynamicid.faces.packs import list_packs
from ..dynamicid.faces.providers import AUTO, CPU, available_providers
from ..dynamicid.host import folders
from ..dynamicid.host.faces import load_analyzer
from .types import CATEGORY, DynamicID, FaceAnalysis, known_options


class DynamicIDLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDLoader",
            display_name="Load DynamicID",
            category=CATEGORY,
            **known_options(search_aliases=["face id", "identity", "personalization"]),
            description="Loads the DynamicID networks from models/dynamicid.",
            inputs=[
                io.Combo.Input(
                    "saa",
                    options=folders.saa_options(),
                    tooltip="SAA.bin (face projector and attention), or one safetensors file that holds all networks.",
                ),
                io.Combo.Input(
                    "imr",
                    options=folders.imr_options(),
                    default=folders.NO_FILE,
                    tooltip="IMR.bin, with its key-point encoder beside it, or the same safetensors file as at `saa`. "
                    "Needed by Edit Face only. Neutral: none.",
                ),
            ],
            outputs=[DynamicID.Output(display_name="dynamicid")],
        )

    @classmethod
    def validate_inputs(cls, saa, imr):
        # The host's own check says "not in list" and nothing more; execute says where the file belongs.
        return True

    @classmethod
    def fingerprint_inputs(cls, saa, imr):
        return [folders.modified(name) for name in (saa, imr)]

    @classmethod
    def execute(cls, saa, imr) -> io.NodeOutput:
        imr_path = None if imr == folders.NO_FILE else folders.weight_path(imr, "imr")
        return io.NodeOutput(load_weights(folders.weight_path(saa, "saa"), imr_path))


class DynamicIDFaceAnalysisLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        # The host asks once while it loads the pack, and again whenever somebody looks at the node: onnxruntime is slow
        # to import, and is asked what it offers only then.
        is_loading = cls.SCHEMA is None
        return io.Schema(
            node_id="DynamicIDFaceAnalysisLoader",
            display_name="Load Face Analysis",
            category=CATEGORY,
            **known_options(search_aliases=["insightface", "face detection", "buffalo_l"]),
            description="Loads InsightFace networks from models/insightface/models. InsightFace's own packs, buffalo_l "
            "among them, are for non-commercial research only. An emotion model (ONNX) in models/dynamicid/emotion, "
            "which is optional, reads the expressions in photos.",
            inputs=[
                io.Combo.Input(
                    "pack",
                    options=list_packs(folders.insightface_roots()) or ["buffalo_l"],
                    tooltip="InsightFace pack. The published weights were trained with buffalo_l.",
                ),
                io.Combo.Input(
                    "provider",
                    options=[AUTO, CPU] if is_loading else available_providers(),
                    default="auto",
                    tooltip="Device of the networks. Neutral: auto, the GPU if onnxruntime supports it, else the CPU.",
                ),
            ],
            outputs=[FaceAnalysis.Output(display_name="face_analysis")],
        )

    @classmethod
    def validate_inputs(cls, pack, provider):
        # A workflow from another machine may name what this one lacks: execute says where a pack belongs, and runs on
        # the CPU, with a warning, where a provider is not there.
        return True

    @classmethod
    def fingerprint_inputs(cls, pack, provider):
        return folders.modified_emotion()

    @classmethod
    def execute(cls, pack, provider) -> io.NodeOutput:
        return io.NodeOutput(load_analyzer(pack, provider))
