"""The files of the tiny models, and the constants that all of the networks share."""

from pathlib import Path

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""The committed files."""
RESULTS = WEIGHTS.parent / "measure" / "results"
"""Tables and examples of the evaluation."""
WORK = WEIGHTS.parents[1] / ".tiny_models"
"""Pictures, caches and checkpoints; never committed."""

BASE = WEIGHTS / "base"
"""diffusers folder: unet, vae, text_encoder, tokenizer, scheduler."""
VISION = WEIGHTS / "clip_vision"
"""transformers folder of the image encoder."""
FACE_PACK = WEIGHTS / "insightface" / "models" / "drawn_faces"
"""InsightFace pack: ONNX files with buffalo_l's names."""
DYNAMICID = WEIGHTS / "dynamicid" / "tiny_dynamicid.safetensors"
"""Projector, SAA layers, IMR and key-point encoder in the pack's combined format."""
CLASSIFIERS = WEIGHTS / "readers"
"""Classifiers of attributes and identities, for the evaluation only."""
EMOTION = WEIGHTS / "emotion" / "drawn_emotion.onnx"
"""Their expression classifier as an emotion network for the nodes."""
PHOTOS = WEIGHTS / "photos"
"""Reference photos of the demo."""

SEED = 2025
PICTURE_SIZE = 128
"""Pixels a side of the scenes that the base model paints."""
COMFY_SIDE = 256
"""The size to ask ComfyUI for: it counts 8 pixels a latent cell, this autoencoder has 4."""
