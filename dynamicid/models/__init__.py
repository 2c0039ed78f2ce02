"""The three networks of DynamicID, one a file. Plain torch; no knowledge of ComfyUI or of files."""

from .face_projector import FaceProjector
from .imr import IMR
from .keypoint_encoder import KeypointEncoder

__all__ = ["IMR", "FaceProjector", "KeypointEncoder"]
