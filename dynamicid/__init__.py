"""DynamicID for ComfyUI: zero-shot multi-ID personalization of Stable Diffusion 1.5 (ICCV 2025, arXiv 2503.06505)."""

import re
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"

__version__ = re.findall(r'^version = "(.+)"$', _PROJECT.read_text(encoding="utf-8"), re.MULTILINE)[0]
