"""``python -m dynamicid synthetic``: layouts, overwriting, errors."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dynamicid import __version__
from dynamicid.cli.app import app
from dynamicid.faces.landmarks import keypoint_map


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["synthetic", *(str(argument) for argument in arguments)])


def files_of(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "annotations.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["scenes", "portraits"])
def test_stage_1_is_a_plain_folder_of_pictures_and_captions(kind: str, tmp_path: Path):
    out = tmp_path / "new" / "data"
    result = run(out, "--kind", kind, "--count", 4, "--size", 48, "--seed", 3)
    assert result.exit_code == 0, result.output
    lines = lines_of(out)
    assert [line["file"] for line in lines] == [f"{number:07d}.png" for number in range(4)]
    assert len(list(out.iterdir())) == 9
    for line in lines:
        picture = np.asarray(Image.open(out / line["file"]))
        assert picture.shape == (48, 48, 3)
        text = (out / line["file"]).with_suffix(".txt").read_text(encoding="utf-8")
        assert text.strip() == line["caption"]
        for face in line["faces"]:
            assert np.array(face["landmarks_106"]).shape == (106, 2)
            assert np.array(face["key_points_5"]).shape == (5, 2)
            assert {"skin", "hair_style"} <= set(face["identity"])
            assert face["pose"] == pytest.approx([face["motion"][name] for name in ("pitch", "yaw", "roll")], abs=1e-3)


def test_the_same_command_writes_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        assert run(tmp_path / name, "--count", 3, "--size", 32, "--people", "2").exit_code == 0
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert all(len(line["faces"]) == 2 for line in lines_of(tmp_path / "a"))


def test_stage_2_is_a_folder_a_person_with_prompts_and_landmark_maps(tmp_path: Path):
    result = run(tmp_path, "--kind", "variface", "--count", 2, "--photos", 3, "--size", 64, "--split", "held_out")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10000", "10001", "annotations.jsonl"]
    lines = lines_of(tmp_path)
    assert len(lines) == 6
    for line in lines:
        photo = tmp_path / line["file"]
        face = line["faces"][0]
        assert Image.open(photo).size == (64, 64)
        assert photo.with_suffix(".txt").read_text(encoding="utf-8").strip() == face["prompt"]
        dots = np.asarray(Image.open(photo.with_name(f"{photo.stem}_landmark.png")))
        wanted = keypoint_map(np.array(face["landmarks_106"]) * 512 / 64)[0].numpy() > 0
        assert dots.shape == (96, 96)
        assert set(np.unique(dots)) == {0, 255}
        # The annotation is rounded to 1/1000 pixel, which may move a point over a cell's edge.
        assert ((dots > 0) != wanted).sum() <= 2
        assert str(face["person"]) == photo.parent.name
    motions = [tuple(line["faces"][0]["pose"]) for line in lines]
    assert len(set(motions)) == 6
    assert len({json.dumps(line["faces"][0]["identity"]) for line in lines}) == 2


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    result = run(tmp_path, "--count", 1, "--size", 32)
    assert result.exit_code == 1
    assert "not empty" in result.output
    assert "--overwrite" in result.output
    assert files_of(tmp_path) == {"mine.txt": b"mine"}


def test_overwriting_replaces_the_earlier_data_and_nothing_else(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    assert run(tmp_path, "--kind", "variface", "--count", 1, "--photos", 2, "--size", 32, "--overwrite").exit_code == 0
    assert (tmp_path / "00000" / "001_landmark.png").exists()
    assert run(tmp_path, "--count", 1, "--size", 32, "--overwrite").exit_code == 0
    assert sorted(files_of(tmp_path)) == ["0000000.png", "0000000.txt", "annotations.jsonl", "mine.txt"]
    assert not (tmp_path / "00000").exists()


def test_overwriting_never_leaves_the_folder(tmp_path: Path):
    (tmp_path / "mine.png").write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "annotations.jsonl").write_text('{"file": "../mine.png"}\n')
    assert run(out, "--count", 1, "--size", 32, "--overwrite").exit_code == 0
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_foreign_annotations_are_not_overwritten(tmp_path: Path):
    (tmp_path / "annotations.jsonl").write_text("my own notes\n")
    result = run(tmp_path, "--count", 1, "--size", 32, "--overwrite")
    assert result.exit_code == 1
    assert "was not written by this command" in result.output
    assert files_of(tmp_path) == {"annotations.jsonl": b"my own notes\n"}


def test_data_of_a_later_format_are_not_overwritten(tmp_path: Path):
    assert run(tmp_path, "--count", 1, "--size", 32).exit_code == 0
    (line,) = lines_of(tmp_path)
    assert (line["format"], line["pack"]) == (1, __version__)
    (tmp_path / "annotations.jsonl").write_text(json.dumps({**line, "format": 2, "pack": "9.0"}) + "\n")
    before = files_of(tmp_path)
    result = run(tmp_path, "--count", 2, "--size", 32, "--overwrite")
    assert result.exit_code == 1
    assert "format 2 by version 9.0" in " ".join(result.output.split())
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--people", "0"), "--people"),
        (("--people", "2-5"), "--people"),
        (("--people", "some"), "--people"),
        (("--size", "8"), "--size"),
        (("--kind", "variface", "--split", "held_out", "--count", "2001"), "2000 people"),
        (("--sheet", "sheet.jpg", "--count", "1", "--size", "32"), ".png"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments: tuple[str, ...], words: str, tmp_path: Path):
    result = run(tmp_path / "out", *arguments)
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    result = run(tmp_path / "file", "--overwrite")
    assert result.exit_code == 1
    assert "is a file" in result.output


def test_nothing_to_do_is_an_error():
    assert run().exit_code == 2


def test_a_sheet_of_samples(tmp_path: Path):
    result = run("--sheet", tmp_path / "sheet.png", "--size", 32)
    assert result.exit_code == 0, result.output
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 600
    assert sheet.shape[1] > 900


def test_without_skia_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import sys

    monkeypatch.setitem(sys.modules, "skia", None)
    result = run(tmp_path / "out")
    assert result.exit_code == 1
    assert "requirements-training.txt" in result.output
    assert not (tmp_path / "out").exists()
