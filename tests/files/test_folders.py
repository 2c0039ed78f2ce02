"""What is found in folders, and what is passed over."""

import os
from pathlib import Path

import pytest

from dynamicid.files.atomic import atomic_write
from dynamicid.files.folders import find_files, is_portable_name, passed_over
from dynamicid.files.skipped import Skipped, summary, write_list


def found(root: Path, recursive: bool = True) -> dict[str, str]:
    """Path below the root -> why it was passed over."""
    return {path.relative_to(root).as_posix(): reason for path, reason in find_files(root, (".png",), recursive)}


def test_capitals_sidecars_and_everything_else(tmp_path: Path):
    long = "é" * 125 + ".png"
    for name in ("A.PNG", "b.Png", "愛 ü.png", long, "a:b?.png", "CON.png", "clip.mov", "notes.txt", "README"):
        (tmp_path / name).touch()
    for name in ("A.txt", "b.JSON", ".hidden.png", "Thumbs.db"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.png").touch()
    pictures = dict.fromkeys(("A.PNG", "b.Png", "愛 ü.png", long, "a:b?.png", "CON.png"), "")
    others = {"clip.mov": "not read: .mov", "notes.txt": "not read: .txt", "README": "not read: a file without ending"}
    assert found(tmp_path) == {**pictures, **others, "more/c.png": ""}
    assert found(tmp_path, recursive=False) == {**pictures, **others, "more": "a folder"}
    entries = list(find_files(tmp_path, (".png",)))
    assert passed_over(tmp_path, entries) == [Skipped(*item) for item in sorted(others.items())]


def test_linked_folders_are_read_once_even_in_a_cycle(tmp_path: Path):
    root, disk = tmp_path / "root", tmp_path / "disk"
    for folder in (root / "a", disk / "b" / "c"):
        folder.mkdir(parents=True)
        (folder / "1.png").touch()
    links = {
        "a/again": root / "a", "around": tmp_path, "b": disk / "b", "b-again": disk / "b", "disk": disk,
        "file.png": disk / "b" / "c" / "1.png", "gone": tmp_path / "nowhere", "inside": root / "a",
        "self": root / "self",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    (disk / "b" / "c" / "up").symlink_to(disk / "b")
    again, around = "the same folder again", "link to a folder around it"
    assert found(root) == {
        "a/1.png": "", "a/again": again, "around": around, "b/c/1.png": "", "b/c/up": around, "b-again": again,
        "disk/b": again, "file.png": "", "gone": "link to nothing", "inside": again, "self": "link to nothing",
    }  # fmt: skip


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.png").touch()
    iterdir = Path.iterdir

    def refuse(path: Path):
        if path.name == "locked":
            raise PermissionError
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert found(tmp_path) == {"a.png": "", "locked": "unreadable folder"}


def test_lists_hold_one_line_a_name(tmp_path: Path):
    (tmp_path / os.fsdecode(b"m\xfcller\n\t.mov")).touch()
    skipped = passed_over(tmp_path, list(find_files(tmp_path, (".png",))))
    write_list(tmp_path / "skipped.txt", skipped)
    assert (tmp_path / "skipped.txt").read_text() == "m\\udcfcller\\n\\t.mov\tnot read: .mov\n"
    summary(skipped).encode("utf-8")


def test_names_that_every_system_accepts():
    for name in ("Zoë 1", "愛.png", "console", ".hidden", "a" * 255):
        assert is_portable_name(name), name
    for name in ("CON", "nul.txt", "com1.safetensors", "a:b", "a?", "dot.", "space ", "a\\b", "\n", "", "é" * 128):
        assert not is_portable_name(name), name


def test_the_longest_names_can_be_written(tmp_path: Path):
    path = tmp_path / ("é" * 127)
    with atomic_write(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole"
