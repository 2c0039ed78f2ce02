"""DynamicID for ComfyUI: zero-shot multi-ID personalization of Stable Diffusion 1.5 (ICCV 2025, arXiv 2503.06505)."""

__version__ = "0.1.0"
