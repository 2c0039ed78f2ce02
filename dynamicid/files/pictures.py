"""Decodes photos from files of any origin by one rule. Nothing in a file is unpacked, followed or executed."""

import io
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, features

from .skipped import BadSample

OPTIONAL_SUFFIXES = (".heic", ".heif", ".hif", ".avif")
PHOTO_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".bmp", ".tif", ".tiff", ".gif", *OPTIONAL_SUFFIXES,
)  # fmt: skip
OPTIONAL_FORMATS = {
    "HEIF": "HEIC photo: needs the package pillow-heif",
    "AVIF": "AVIF photo: needs Pillow 11.3 or newer",
}
"""Formats that not every Pillow reads, and the reason that is listed where it does not."""
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
"""Their further frames are a film; those of JPEG (MPO), TIFF and HEIF are other pictures, pages or thumbnails."""
LARGEST_FILE = 256 << 20
"""Bytes."""
MOST_PIXELS = 60_000_000
_DECODER_ERRORS = (
    OSError, ValueError, SyntaxError, ArithmeticError, LookupError, EOFError, MemoryError, TypeError, AttributeError,
    RuntimeError, ImportError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on broken files."""
_SUBFILE_TYPE, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 254, 258, 262, 339
"""TIFF tags."""
_REDUCED, _WHITE_IS_ZERO, _SIGNED = 1, 0, 2
"""Values of the first, third and last of these."""


def read_picture(path: Path, most_pixels: int = MOST_PIXELS) -> np.ndarray:
    """A photo as (height, width, 3) uint8 RGB; see ``to_rgb`` for the rule.

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


@cache
def readable_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read here. HEIF needs the plug-in pillow-heif, which is optional."""
    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    has_avif = "AVIF" in Image.OPEN and features.check("avif")
    return (*_FORMATS, *(["HEIF"] if "HEIF" in Image.OPEN else []), *(["AVIF"] if has_avif else []))


def decode(content: bytes, most_pixels: int = MOST_PIXELS) -> np.ndarray:
    """(height, width, 3) uint8 RGB of an encoded photo, by the rule of ``to_rgb``.

    Of a file with several pictures, such as a phone's JPEG with a depth map or a scan of several pages, the first one
    counts that is not marked as a thumbnail.

    Args:
        content: Bytes of a file in one of ``readable_formats``.
        most_pixels: Larger pictures are refused by the size in their header, before anything is decoded.

    Raises:
        BadSample: It cannot be decoded, has too many pixels, or is animated.
    """
    try:
        with Image.open(io.BytesIO(content), formats=readable_formats()) as picture:
            if picture.format == "TIFF":
                _seek_full_size(picture)
            if picture.width * picture.height > most_pixels:
                raise BadSample("too many pixels")
            if picture.format in _ANIMATED_FORMATS and getattr(picture, "n_frames", 1) > 1:
                raise BadSample("animated")
            picture.load()
            return to_rgb(picture)
    except Image.DecompressionBombError as error:
        raise BadSample("too many pixels") from error
    except _DECODER_ERRORS as error:
        kind = _iso_media_format(content)
        is_missing = kind and kind not in readable_formats()
        raise BadSample(OPTIONAL_FORMATS[kind] if is_missing else "unreadable picture") from error


def _iso_media_format(content: bytes) -> str:
    """ "AVIF" or "HEIF" by the brand in the first box; "" for anything else."""
    if content[4:8] != b"ftyp":
        return ""
    brand = content[8:12]
    is_heif = brand[:3] in (b"hei", b"hev") or brand in (b"mif1", b"msf1")
    return "AVIF" if brand in (b"avif", b"avis") else "HEIF" if is_heif else ""


def _seek_full_size(picture: Image.Image) -> None:
    """Moves to the first page of a TIFF that is not marked as a reduced version of another, if there is one."""
    page = 0
    while picture.tag_v2.get(_SUBFILE_TYPE, 0) & _REDUCED:  # pyright: ignore[reportAttributeAccessIssue]
        page += 1
        try:
            picture.seek(page)
        except EOFError:
            picture.seek(0)
            return


def to_rgb(picture: Image.Image) -> np.ndarray:
    """(height, width, 3) uint8 RGB of an opened picture in any of Pillow's modes.

    The picture is rotated as its EXIF orientation says (a broken EXIF block is ignored), transparency is composited on
    white, grey becomes three equal channels, and more than 8 bits a channel become 8.
    """
    # Rotating gives a picture without tags.
    tags: Mapping[int, Any] = getattr(picture, "tag_v2", {})
    is_png, picture = picture.format == "PNG", _rotate(picture)
    if picture.mode[0] in "IF":
        picture = _eight_bits(picture, tags, is_png)
    if picture.has_transparency_data:
        # Pillow converts premultiplied grey only like this.
        layer = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, layer)
    return np.asarray(picture.convert("RGB"))


def _rotate(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except _DECODER_ERRORS:
        return picture


def _eight_bits(picture: Image.Image, tags: Mapping[int, Any], is_png: bool) -> Image.Image:
    """Grey of 8 bits from grey of 12, 16 or 32 bits or of floats.

    White is the largest value of the file's bits. 32 bits and floats hold values up to 1, 255 or 65535, depending on
    the program: white is then the smallest of these that the values fit below; of floats, 99 of 100 values, as
    highlights may exceed white.
    """
    values = np.nan_to_num(np.asarray(picture).astype(np.float64))
    is_signed = _first(tags, _SAMPLE_FORMAT, 1) == _SIGNED
    bits = 16 if is_png or ";16" in picture.mode else 32
    bits = _first(tags, _BITS, bits)
    if picture.mode == "F":
        white = next((white for white in (1, 255, 65535) if np.percentile(values, 99) <= white), values.max())
    elif bits <= 16:
        white = 2 ** (bits - is_signed) - 1
    else:
        values = np.where((values < 0) & (not is_signed), values + 2.0**32, values)
        white = next(white for white in (255, 65535, 2 ** (32 - is_signed) - 1) if values.max() <= white)
    grey = values / white
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 1 - grey
    if "transparency" in picture.info:
        grey[values == picture.info["transparency"]] = 1
    return Image.fromarray((grey * 255).clip(0, 255).round().astype(np.uint8))


def _first(tags: Mapping[int, Any], tag: int, default: int) -> int:
    """The first number of a TIFF tag, which has one for each channel."""
    return tags.get(tag, (default,))[0]
