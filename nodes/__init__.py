"""The nodes: a schema and one delegating call each; no maths."""

from comfy_api.latest import ComfyExtension, io

from ..dynamicid.host.folders import register_folders
from ..dynamicid.host.routes import register_routes
from ..dynamicid.host.version import note_newer_host
from .apply import DynamicIDActivationPreview, DynamicIDApply
from .groups import DynamicIDCheckPeople, DynamicIDCropPeople, DynamicIDPastePeople
from .loaders import DynamicIDFaceAnalysisLoader, DynamicIDLoader
from .motions import (
    DynamicIDBlendMotions,
    DynamicIDContactSheet,
    DynamicIDMotionFromImage,
    DynamicIDMotionFromLandmarks,
    DynamicIDMotionPresets,
    DynamicIDMotionSliders,
)
from .people import (
    DynamicIDEditFace,
    DynamicIDEncodeFace,
    DynamicIDFaceSimilarity,
    DynamicIDLoadFace,
    DynamicIDMixFaces,
    DynamicIDSaveFace,
)
from .regions import (
    DynamicIDRegion,
    DynamicIDRegionEditor,
    DynamicIDRegionsFromBoxes,
    DynamicIDRegionsFromImage,
)
from .sockets import check_sockets

NODES: list[type[io.ComfyNode]] = [
    DynamicIDLoader,
    DynamicIDFaceAnalysisLoader,
    DynamicIDEncodeFace,
    DynamicIDMotionFromImage,
    DynamicIDMotionFromLandmarks,
    DynamicIDMotionSliders,
    DynamicIDMotionPresets,
    DynamicIDBlendMotions,
    DynamicIDEditFace,
    DynamicIDMixFaces,
    DynamicIDRegion,
    DynamicIDRegionEditor,
    DynamicIDRegionsFromImage,
    DynamicIDRegionsFromBoxes,
    DynamicIDApply,
    DynamicIDActivationPreview,
    DynamicIDCropPeople,
    DynamicIDPastePeople,
    DynamicIDCheckPeople,
    DynamicIDSaveFace,
    DynamicIDLoadFace,
    DynamicIDFaceSimilarity,
    DynamicIDContactSheet,
]
for _node in NODES:
    check_sockets(_node)


class DynamicIDExtension(ComfyExtension):
    """What ComfyUI asks for nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        note_newer_host()
        register_folders()
        register_routes()
        return NODES
