"""DynamicID for ComfyUI: zero-shot multi-ID personalization of Stable Diffusion 1.5 (ICCV 2025, arXiv 2503.06505)."""

import os
import re
from pathlib import Path

# onnxruntime 1.31 and newer starts a telemetry client when it is imported, by whichever library. Its native code reads
# the environment of the process, so this comes before every other import of the package.
os.putenv("ORT_DISABLE_TELEMETRY", "1")

_PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"

__version__ = re.findall(r'^version = "(.+)"$', _PROJECT.read_text(encoding="utf-8"), re.MULTILINE)[0]
