"""Writing: complete or not at all, one temporary name per writer, errors that fit."""

import errno
import os
import stat
from pathlib import Path

import pytest
from safetensors import SafetensorError

from dynamicid.errors import DynamicIDError
from dynamicid.files.atomic import DiskFullError, atomic_write, remove_partials, translate_io_errors


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_and_a_folder_replace_earlier_ones(tmp_path: Path):
    for text in ("first", "second"):
        with atomic_write(tmp_path / "new" / "file") as partial:
            partial.write_text(text)
        with atomic_write(tmp_path / "new" / "folder") as partial:
            partial.mkdir()
            (partial / text).touch()
    assert (tmp_path / "new" / "file").read_text() == "second"
    assert names(tmp_path / "new") == ["file", "folder"]
    assert names(tmp_path / "new" / "folder") == ["second"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x"), OSError("x")])
def test_a_failure_leaves_the_earlier_file_and_nothing_else(tmp_path: Path, error: BaseException):
    def write_half() -> None:
        with atomic_write(tmp_path / "file") as partial:
            partial.write_text("half")
            raise error

    (tmp_path / "file").write_text("before")
    with pytest.raises((type(error), DynamicIDError)):
        write_half()
    assert (tmp_path / "file").read_text() == "before"
    assert names(tmp_path) == ["file"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path):
    with atomic_write(tmp_path / "file") as first:
        first.write_text("first")
        with atomic_write(tmp_path / "file") as second:
            second.write_text("second")
        assert (tmp_path / "file").read_text() == "second"
    assert (tmp_path / "file").read_text() == "first"


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path):
    for name in (".a.0123.partial", "deep/.b.partial", ".hidden", "c.partial"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".folder.4567.partial").mkdir()
    (tmp_path / ".folder.4567.partial" / ".d.89.partial").write_text("x")
    remove_partials(tmp_path)
    assert names(tmp_path) == [".hidden", "c.partial", "deep"]
    assert names(tmp_path / "deep") == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_files_are_as_private_as_the_user_wants_new_files(tmp_path: Path):
    before = os.umask(0o077)
    try:
        with atomic_write(tmp_path / "people") as partial:
            partial.write_text("photos of people")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "people").stat().st_mode) == 0o600


def test_too_little_room_is_seen_before_writing(tmp_path: Path):
    with pytest.raises(DiskFullError) as caught, atomic_write(tmp_path / "file", 10**18):
        pytest.fail("It was begun.")
    assert caught.value.where == str(tmp_path / "file")
    assert "1000000000000 MB of 'file'" in caught.value.found
    assert not names(tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        OSError(errno.EDQUOT, "quota"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/3: file write failed"),
    ],
)
def test_a_full_disk_is_told_from_other_errors(error: Exception):
    with pytest.raises(DiskFullError) as caught, translate_io_errors(Path("a"), "name"):
        raise error
    assert str(caught.value).startswith("name: The disk is full")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "denied"), SafetensorError("denied")])
def test_a_place_that_cannot_be_written_is_named(error: Exception):
    with pytest.raises(DynamicIDError) as caught, translate_io_errors(Path("a")):
        raise error
    assert str(caught.value).startswith("a: 'a' cannot be written")
    assert "denied" in str(caught.value)
    assert not isinstance(caught.value, DiskFullError)


def test_errors_that_have_nothing_to_do_with_files_pass():
    with pytest.raises(RuntimeError, match="sizes differ"), translate_io_errors(Path("a")):
        raise RuntimeError("sizes differ")
