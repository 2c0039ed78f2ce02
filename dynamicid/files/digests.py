"""SHA-256 digests as hex digits: of texts, of files, and of the networks in weight files."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".ckpt", ".onnx")
_BLOCK = 1 << 20


def sha256_hex(content: bytes | str) -> str:
    """64 hex digits; of a text, its UTF-8 bytes (file names that are no UTF-8 pass as Python holds them)."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content).hexdigest()


def sha256_of_files(*paths: Path) -> str:
    """64 hex digits of the contents of files, one after another, read block by block."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def digest(*sources: Any) -> str:
    """64 hex digits of several things: of a Path the content of that file, of anything else its JSON."""
    total = hashlib.sha256()
    for source in sources:
        if isinstance(source, Path):
            total.update(bytes.fromhex(sha256_of_files(source)))
        else:
            total.update(json.dumps(source, sort_keys=True, default=str).encode())
    return total.hexdigest()


def digest_of_networks(paths: Iterable[Path]) -> str:
    """16 hex digits over the weight files at these paths and in these folders, whatever their names; "" without any."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    files = [file for file in files if file.suffix in WEIGHT_SUFFIXES and file.is_file()]
    return sha256_of_files(*files)[:16] if files else ""
