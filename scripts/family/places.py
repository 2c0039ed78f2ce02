"""Where the family's files are, and the numbers all of its networks share."""

from pathlib import Path

FAMILY = Path(__file__).resolve().parents[2] / "drawn_family"
"""What is committed."""
WORK = FAMILY.parent / ".family"
"""Pictures, caches, checkpoints: made again where missing, never committed."""

BASE = FAMILY / "base"
"""diffusers folder: unet, vae, text_encoder, tokenizer, scheduler."""
VISION = FAMILY / "clip_vision"
"""transformers folder of the image encoder."""
FACE_PACK = FAMILY / "insightface" / "models" / "drawn_faces"
"""InsightFace pack: ONNX files with buffalo_l's names."""
DYNAMICID = FAMILY / "dynamicid" / "drawn_family.safetensors"
"""Projector, SAA layers, IMR and key-point encoder in the pack's combined format."""
READERS = FAMILY / "readers"
"""Networks that read attributes and identities off pictures, for the evaluation only."""
EMOTION = FAMILY / "emotion" / "drawn_emotion.onnx"
"""Their expressions as an emotion network for the nodes."""

SEED = 2025
PICTURE_SIZE = 128
"""Pixels a side of the scenes that the base model paints."""
COMFY_SIDE = 256
"""What a ComfyUI is told for that: it counts 8 pixels a latent cell, the family's autoencoder has 4."""
