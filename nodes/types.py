"""Socket types of the pack. Public: shared workflow files hold these names."""

from comfy_api.latest import io

DynamicID = io.Custom("DYNAMICID")
FaceAnalysis = io.Custom("FACE_ANALYSIS")
Face = io.Custom("DYNAMICID_FACE")
Motion = io.Custom("DYNAMICID_MOTION")
Regions = io.Custom("DYNAMICID_REGIONS")
Activation = io.Custom("DYNAMICID_ACTIVATION")

CATEGORY = "DynamicID"
