"""Socket types of the pack, public as shared workflow files hold their names; what schemas share beside them."""

from dataclasses import fields
from typing import Any

from comfy_api.latest import io

DynamicID = io.Custom("DYNAMICID")
FaceAnalysis = io.Custom("FACE_ANALYSIS")
Face = io.Custom("DYNAMICID_FACE")
Motion = io.Custom("DYNAMICID_MOTION")
Regions = io.Custom("DYNAMICID_REGIONS")
Activation = io.Custom("DYNAMICID_ACTIVATION")
Crops = io.Custom("DYNAMICID_CROPS")
BoundingBox = io.Custom("BOUNDING_BOX")
FaceLandmarks = io.Custom("FACE_LANDMARKS")
"""Both the host's own; older ones do not name them."""

CATEGORY = "DynamicID"


def known_options(**options: Any) -> dict[str, Any]:
    """Those of the keyword arguments that this host's ``io.Schema`` knows."""
    known = {field.name for field in fields(io.Schema)}
    return {name: value for name, value in options.items() if name in known}


# After a run that finds everything in the cache, newer hosts show again what the node left for the page.
SHOWN_FROM_CACHE = known_options(has_intermediate_output=True)
