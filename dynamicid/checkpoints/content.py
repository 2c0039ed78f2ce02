"""Networks known by what is in their files, whatever these are called."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".ckpt", ".onnx")
_BLOCK = 1 << 20


def digest_of_networks(paths: Iterable[Path]) -> str:
    """16 hex digits of SHA-256 over the weight files at these paths and in these folders; "" without any."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    files = [file for file in files if file.suffix in WEIGHT_SUFFIXES and file.is_file()]
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                found.update(block)
    return found.hexdigest()[:16] if files else ""
