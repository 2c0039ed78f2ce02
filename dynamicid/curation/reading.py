"""One photo's pixels, from files that nobody vouches for. Nothing is unpacked, followed or executed."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..files.skipped import BadSample
from .listing import raise_fault
from .parts import Row

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
LARGEST_FILE = 256 << 20
BROKEN = (
    OSError, ValueError, SyntaxError, ArithmeticError, LookupError, EOFError, MemoryError, TypeError, AttributeError,
    RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on broken files."""


def read_bytes(row: Row) -> bytes:
    """The encoded photo of a row of the listing.

    Raises:
        BadSample: It could not be listed, or as ``read_file``.
    """
    raise_fault(row)
    return read_file(Path(row["path"]), row["offset"], row["length"])


def read_file(path: Path, offset: int = -1, length: int = -1) -> bytes:
    """A file's content, or ``length`` bytes of it from ``offset`` on.

    Raises:
        BadSample: It is missing, no plain file, empty or too large.
    """
    try:
        if not path.is_file():
            raise BadSample("no plain file" if path.exists() else "missing file")
        size = length if offset >= 0 else path.stat().st_size
        if size > LARGEST_FILE:
            raise BadSample(f"file of more than {LARGEST_FILE >> 20} MB")
        with path.open("rb") as file:
            file.seek(max(0, offset))
            content = file.read(size)
    except (OSError, ValueError) as error:
        raise BadSample("unreadable file") from error
    if not content:
        raise BadSample("empty file")
    return content


def decode(content: bytes, most_pixels: int) -> np.ndarray:
    """(height, width, 3) uint8 RGB, turned as the camera says; transparency on white.

    Args:
        content: An encoded photo.
        most_pixels: Larger ones are refused by what their header says, before anything is decoded.

    Raises:
        BadSample: It cannot be read, is too large, or moves.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > most_pixels:
                raise BadSample("too many pixels")
            if getattr(picture, "n_frames", 1) > 1:
                raise BadSample("animated")
            picture.load()
            return np.asarray(_upright(picture))
    except Image.DecompressionBombError as error:
        raise BadSample("too many pixels") from error
    except BROKEN as error:
        raise BadSample("unreadable picture") from error


def _upright(picture: Image.Image) -> Image.Image:
    try:
        turned = ImageOps.exif_transpose(picture)
    except BROKEN:
        # A camera's note that cannot be read says nothing about the pixels.
        turned = picture
    if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
        whole = turned.convert("RGBA")
        ground = Image.new("RGBA", whole.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, whole).convert("RGB")
    if turned.mode.startswith("I"):
        depth = np.asarray(turned).astype(np.float64)
        return Image.fromarray((depth / max(depth.max(), 255.0) * 255).astype(np.uint8)).convert("RGB")
    return turned.convert("RGB")
