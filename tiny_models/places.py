"""Where the tiny models' files are, and the numbers that all of the networks share."""

from pathlib import Path

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""What is committed."""
RESULTS = WEIGHTS.parent / "measure" / "results"
"""Tables and examples of the evaluation."""
WORK = WEIGHTS.parents[1] / ".tiny_models"
"""Pictures, caches, checkpoints: made again where missing, never committed."""

BASE = WEIGHTS / "base"
"""diffusers folder: unet, vae, text_encoder, tokenizer, scheduler."""
VISION = WEIGHTS / "clip_vision"
"""transformers folder of the image encoder."""
FACE_PACK = WEIGHTS / "insightface" / "models" / "drawn_faces"
"""InsightFace pack: ONNX files with buffalo_l's names."""
DYNAMICID = WEIGHTS / "dynamicid" / "tiny_dynamicid.safetensors"
"""Projector, SAA layers, IMR and key-point encoder in the pack's combined format."""
READERS = WEIGHTS / "readers"
"""Networks that read attributes and identities off pictures, for the evaluation only."""
EMOTION = WEIGHTS / "emotion" / "drawn_emotion.onnx"
"""Their expressions as an emotion network for the nodes."""

SEED = 2025
PICTURE_SIZE = 128
"""Pixels a side of the scenes that the base model paints."""
COMFY_SIDE = 256
"""What a ComfyUI is told for that: it counts 8 pixels a latent cell, this autoencoder has 4."""
