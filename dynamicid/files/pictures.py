"""Decodes photos from files of any origin by one rule. Nothing in a file is unpacked, followed or executed."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .skipped import BadSample

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
LARGEST_FILE = 256 << 20
"""Bytes."""
MOST_PIXELS = 60_000_000
_DECODER_ERRORS = (
    OSError, ValueError, SyntaxError, ArithmeticError, LookupError, EOFError, MemoryError, TypeError, AttributeError,
    RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on broken files."""


def read_picture(path: Path, most_pixels: int = MOST_PIXELS) -> np.ndarray:
    """A photo as (height, width, 3) uint8 RGB; see ``decode`` for the rule.

    Raises:
        BadSample: As ``read_file`` and ``decode``.
    """
    return decode(read_file(path), most_pixels)


def read_file(path: Path, offset: int = -1, length: int = -1) -> bytes:
    """A file's content, or ``length`` bytes of it from ``offset`` on.

    Raises:
        BadSample: It is missing, not a regular file, empty, unreadable or larger than LARGEST_FILE.
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


def decode(content: bytes, most_pixels: int = MOST_PIXELS) -> np.ndarray:
    """(height, width, 3) uint8 RGB of an encoded photo.

    The picture is rotated as its EXIF orientation says (a broken EXIF block is ignored), transparency is composited on
    white, grey becomes three equal channels, and 16 bits a channel become 8 (divided by 257).

    Args:
        content: Bytes of a file in one of FORMATS.
        most_pixels: Larger pictures are refused by the size in their header, before anything is decoded.

    Raises:
        BadSample: It cannot be decoded, has too many pixels, or is animated.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > most_pixels:
                raise BadSample("too many pixels")
            if getattr(picture, "n_frames", 1) > 1:
                raise BadSample("animated")
            picture.load()
            return np.asarray(_to_rgb(_rotate(picture)))
    except Image.DecompressionBombError as error:
        raise BadSample("too many pixels") from error
    except _DECODER_ERRORS as error:
        raise BadSample("unreadable picture") from error


def _rotate(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except _DECODER_ERRORS:
        return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.float64)
        # Pillow opens 16-bit grey as I;16 or I, depending on its version and the file; I may hold 8-bit values, too.
        values = values / 257 if values.max() > 255 else values
        return Image.fromarray(values.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    return picture.convert("RGB")
