"""One rule for every picture that is read from a file."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dynamicid.files.pictures import LARGEST_FILE, decode, read_file, read_picture
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


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_the_cameras_orientation_is_followed(orientation: int, turns: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode(encoded(Image.fromarray(COLOURS), exif=exif)), np.rot90(COLOURS, turns))


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
