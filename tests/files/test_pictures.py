"""One rule for every picture that is read from a file."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from dynamicid.files import pictures
from dynamicid.files.pictures import LARGEST_FILE, decode, read_file, read_picture, readable_formats
from dynamicid.files.skipped import BadSample

GREY = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)
COLOURS = np.random.default_rng(0).integers(0, 255, (3, 4, 3), dtype=np.uint8)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_rgb_comes_back_as_it_is(kind: str):
    assert np.array_equal(decode(encoded(Image.fromarray(COLOURS), kind)), COLOURS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_orientation_is_followed(orientation: int, kind: str):
    """Orientations 1, 3, 6, 8 are turns; 2, 4, 5, 7 are these, mirrored."""
    turns, is_mirrored = ((0, 0), (0, 1), (2, 0), (2, 1), (1, 1), (3, 0), (3, 1), (1, 0))[orientation - 1]
    upright = np.rot90(COLOURS[:, ::-1] if is_mirrored else COLOURS, turns).repeat(16, 0).repeat(16, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(COLOURS.repeat(16, 0).repeat(16, 1))
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    found = decode(encoded(picture, kind, exif=exif, **options))
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 4


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_exif_block_is_ignored():
    content = encoded(Image.fromarray(COLOURS), "PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage")
    assert np.array_equal(decode(content), COLOURS)


def test_grey_becomes_three_equal_channels():
    assert np.array_equal(decode(encoded(Image.fromarray(GREY))), np.repeat(GREY[..., None], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight_whatever_the_brightest_pixel(kind: str):
    for picture in (GREY, GREY // 2):
        content = encoded(Image.fromarray(picture.astype(np.uint16) * 257), kind)
        assert np.array_equal(decode(content), np.repeat(picture[..., None], 3, axis=2))


def smooth() -> Image.Image:
    """64 x 64 pixels that every colour model and every lossy format keeps within a few grey levels."""
    x, y = np.meshgrid(np.linspace(40, 215, 64), np.linspace(60, 200, 64))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


def difference(content: bytes, expected: Image.Image) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(decode(content).astype(int) - np.asarray(expected.convert("RGB"))).mean())


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("CMYK", "TIFF"), ("CMYK", "JPEG"), ("YCbCr", "TIFF"), ("YCbCr", "JPEG"), ("LAB", "TIFF"), ("RGBA", "TIFF"),
        ("P", "PNG"), ("P", "GIF"), ("P", "BMP"), ("1", "PNG"), ("1", "TIFF"), ("1", "BMP"), ("L", "JPEG"),
        ("LA", "PNG"), ("LA", "TIFF"), ("RGB", "WEBP"), ("RGB", "AVIF"),
    ],
)  # fmt: skip
def test_every_colour_model_keeps_its_brightness(mode: str, kind: str):
    if kind == "AVIF" and "AVIF" not in readable_formats():
        pytest.skip("this Pillow reads no AVIF")
    grey = smooth().convert("L") if mode in ("1", "L", "LA") else smooth()
    picture = grey.convert("RGB").convert(mode) if mode == "LAB" else grey.convert(mode)
    expected = picture if mode in ("1", "P") else grey
    assert difference(encoded(picture, kind), expected) < 3


def grey_tiff(values: np.ndarray, photometric: int | None = None) -> bytes:
    """A TIFF of one channel; photometric 0 = its zero is white."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    if photometric is not None:
        info[262] = photometric
    return encoded(Image.fromarray(values), "TIFF", tiffinfo=info)


def without_sign(content: bytes) -> bytes:
    """The same TIFF, which says that its integers have no sign."""
    signed, unsigned = (struct.pack("<HHIHH", 339, 3, 1, kind, 0) for kind in (2, 1))
    assert signed in content
    return content.replace(signed, unsigned)


def test_grey_of_any_depth_keeps_its_brightness():
    grey = np.asarray(smooth().convert("L"))
    share = grey / 255
    depths = {
        "16 bits": grey_tiff((share * 65535).astype(np.uint16)),
        "16 bits, PNG": encoded(Image.fromarray((share * 65535).astype(np.uint16))),
        "16 bits, 0 is white": grey_tiff(((1 - share) * 65535).astype(np.uint16), photometric=0),
        "16 bits, big-endian": encoded(
            Image.frombytes("I;16B", (64, 64), (share * 65535).astype(">u2").tobytes()), "TIFF"
        ),
        "32 bits that hold 8": grey_tiff(grey.astype(np.int32)),
        "32 bits that hold 16": grey_tiff((share * 65535).astype(np.int32)),
        "32 bits": grey_tiff((share * (2**31 - 1)).astype(np.int32)),
        "32 bits without sign": without_sign(grey_tiff((share * (2**32 - 1)).astype(np.uint32).view(np.int32))),
        "floats up to 1": grey_tiff(share.astype(np.float32)),
        "floats up to 255": grey_tiff(grey.astype(np.float32)),
        "floats up to 65535": grey_tiff((share * 65535).astype(np.float32)),
    }
    for name, content in depths.items():
        found = decode(content)
        assert found.shape == (64, 64, 3), name
        assert np.abs(found.astype(int) - grey[..., None]).max() <= 1, name
    bright = share.astype(np.float32)
    bright[0, 0] = 7.5
    assert np.abs(decode(grey_tiff(bright)).astype(int)[1:] - grey[1:, :, None]).max() <= 1


def test_sixteen_bit_colours_become_eight():
    """Written by hand: Pillow writes no such file."""
    rows = COLOURS.astype(">u2") * 257
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    assert np.array_equal(decode(png(4, 3, 16, 2, data)), COLOURS)


def png(width: int, height: int, bits: int, kind: int, rows: bytes) -> bytes:
    """A PNG file; each row begins with a filter byte."""

    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return len(content).to_bytes(4, "big") + name + content + crc.to_bytes(4, "big")

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("kind", ["MPO", "TIFF"])
def test_of_several_pictures_in_a_file_the_first_counts(kind: str):
    other = Image.new("RGB", (16, 16))
    content = encoded(smooth(), kind, save_all=True, append_images=[other, other])
    assert decode(content).shape == (64, 64, 3)
    assert difference(content, smooth()) < 3


def test_a_thumbnail_before_the_picture_is_passed_over(tmp_path: Path):
    thumbnail = Image.new("RGB", (16, 16))
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[254] = 1
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / "scan.tif", new=True) as file:
        thumbnail.save(file, "TIFF", tiffinfo=info)
        file.newFrame()
        smooth().save(file, "TIFF")
    assert np.array_equal(read_picture(tmp_path / "scan.tif"), np.asarray(smooth()))
    with pytest.raises(BadSample, match=r"^too many pixels$"):
        read_picture(tmp_path / "scan.tif", most_pixels=64 * 64 - 1)
    assert decode(encoded(thumbnail, "TIFF", tiffinfo=info)).shape == (16, 16, 3)


def test_heic_and_avif_without_their_reader_say_what_they_need(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "readable_formats", lambda: ("JPEG", "PNG"))
    for brand, reason in (("heic", "pillow-heif"), ("mif1", "pillow-heif"), ("avif", "Pillow 11.3")):
        with pytest.raises(BadSample, match=reason):
            decode(b"\0\0\0\x18ftyp" + brand.encode() + bytes(100))
    monkeypatch.setattr(pictures, "readable_formats", lambda: ("JPEG", "HEIF", "AVIF"))
    with pytest.raises(BadSample, match=r"^unreadable picture$"):
        decode(b"\0\0\0\x18ftypavif" + bytes(100))


def test_heic_is_read_where_its_plug_in_is():
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is optional")
    assert "HEIF" in readable_formats()
    content = io.BytesIO()
    heif.from_pillow(smooth()).save(content, quality=100)
    assert difference(content.getvalue(), smooth()) < 3


def test_transparency_is_white():
    alpha = np.full((3, 4, 1), 255, np.uint8)
    alpha[0] = 0
    alpha[1] = 51
    expected = COLOURS.copy()
    expected[0] = 255
    expected[1] = np.round(COLOURS[1] * 0.2 + 255 * 0.8)
    found = decode(encoded(Image.fromarray(np.concatenate([COLOURS, alpha], axis=2))))
    assert np.abs(found.astype(int) - expected).max() <= 1
    grey = decode(encoded(Image.fromarray(np.stack([GREY, np.zeros_like(GREY)], axis=2))))
    assert (grey == 255).all()
    palette = Image.fromarray(GREY).convert("P")
    assert (decode(encoded(palette, transparency=int(np.asarray(palette)[0, 0])))[0, 0] == 255).all()


def test_pictures_that_are_refused():
    moving = encoded(Image.fromarray(COLOURS), "GIF", save_all=True, append_images=[Image.fromarray(COLOURS[::-1])])
    whole = encoded(Image.fromarray(COLOURS))
    refused = {
        "animated": (moving, 100), "too many pixels": (whole, 11),
        "unreadable picture": (whole[: len(whole) // 2], 100),
    }  # fmt: skip
    for reason, (content, most_pixels) in refused.items():
        with pytest.raises(BadSample, match=f"^{reason}$"):
            decode(content, most_pixels)
    for kind in ("PPM", "ICO", "PDF"):
        with pytest.raises(BadSample, match=r"^unreadable picture$"):
            decode(encoded(Image.fromarray(COLOURS), kind))
    assert decode(whole, 12).shape == (3, 4, 3)


def test_files_that_are_refused(tmp_path: Path):
    (tmp_path / "empty.png").touch()
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    reasons = {
        "empty.png": "empty file", "large.png": "file of more than 256 MB", "gone.png": "missing file",
        "": "no plain file", "a\0b": "(unreadable|missing) file",
    }  # fmt: skip
    for name, reason in reasons.items():
        with pytest.raises(BadSample, match=f"^{reason}$"):
            read_picture(tmp_path / name)


def test_a_part_of_a_file_is_read_by_its_place(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_file(tmp_path / "file", 3, 4) == b"3456"
    assert read_file(tmp_path / "file") == b"0123456789"
