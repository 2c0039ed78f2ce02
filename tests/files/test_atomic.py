"""Writing: complete or not at all, one temporary name per writer, errors that fit."""

import errno
import itertools
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors import SafetensorError

from dynamicid.errors import DynamicIDError
from dynamicid.files import atomic
from dynamicid.files.atomic import (
    DiskFullError,
    NameTakenError,
    atomic_write,
    discard,
    remove_partials,
    translate_io_errors,
    write_text,
)


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


def test_what_killed_processes_left_is_removed_and_nothing_of_others(tmp_path: Path):
    for name in (
        ".01234567.partial/new",
        "deep/.89abcdef.partial/new",
        ".other.partial/new",
        ".0123456789.partial/new",
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("x")
    for name in (".hidden", "c.partial", ".89abcdef.partial"):
        (tmp_path / name).write_text("x")
    remove_partials(tmp_path)
    left = [".0123456789.partial", ".89abcdef.partial", ".hidden", ".other.partial", "c.partial", "deep"]
    assert names(tmp_path) == left
    assert names(tmp_path / "deep") == []


WRITER = """
import sys
from pathlib import Path
from dynamicid.files.atomic import atomic_write
with atomic_write(Path(sys.argv[1])) as partial:
    partial.mkdir()
    (partial / "person").touch()
    print("writing", flush=True)
    sys.stdin.read()
"""


@contextmanager
def writing(path: Path) -> Iterator[subprocess.Popen]:
    """Another process that is in the middle of writing the folder ``path``."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process


def test_the_next_write_removes_what_a_killed_process_left_and_nothing_of_a_living_one(tmp_path: Path):
    with writing(tmp_path / "killed") as killed, writing(tmp_path / "living") as living:
        killed.kill()
        killed.wait()
        with atomic_write(tmp_path / "file") as partial:
            partial.touch()
            assert len(names(tmp_path)) == 2
        living.communicate()
    assert names(tmp_path) == ["file", "living"]
    assert names(tmp_path / "living") == ["person"]


def kill_while_replacing(monkeypatch: pytest.MonkeyPatch, path: Path, after: int) -> None:
    """Writes the folder ``path`` over an earlier one; of all moves only the first ``after`` are done."""
    moves, move = itertools.count(), Path.replace

    def replace(self: Path, target: Path) -> Path:
        if next(moves) >= after:
            raise KeyboardInterrupt
        return move(self, target)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt), atomic_write(path) as partial:
        partial.mkdir()
        (partial / "new").touch()
        patch.setattr(Path, "replace", replace)
        patch.setattr(atomic, "remove", lambda path: None)


@pytest.mark.parametrize("after", [0, 1])
def test_a_folder_is_not_lost_when_another_takes_its_place(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "earlier").touch()
    kill_while_replacing(monkeypatch, tmp_path / "folder", after)
    remove_partials(tmp_path)
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["earlier"]


def test_a_folder_that_another_takes_for_a_leftover_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    acquire, taken = FileLock.acquire, []

    def take_first(lock: FileLock, *arguments: object, **options: object) -> object:
        if not taken:
            taken.append(Path(lock.lock_file).parent)
            shutil.rmtree(taken[0])
        return acquire(lock, *arguments, **options)  # pyright: ignore

    monkeypatch.setattr(FileLock, "acquire", take_first)
    write_text(tmp_path / "a", "b")
    assert taken
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_half_removed_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("folder", "other"):
        (tmp_path / name).mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "remove", lambda path: None)
        discard(tmp_path / "folder")
    assert names(tmp_path)[1:] == ["other"]
    remove_partials(tmp_path)
    assert names(tmp_path) == ["other"]


def test_a_full_disk_keeps_nothing_from_being_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    for place in (Path, atomic.FileLock):
        (tmp_path / "folder").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(place, "mkdir" if place is Path else "acquire", no_room)
            discard(tmp_path / "folder")
        assert names(tmp_path) == []


@pytest.mark.parametrize("links", [True, False])
def test_an_earlier_file_stays_where_asked(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EPERM, "no links")))
    for text in ("first", "second"):
        with (
            pytest.raises(NameTakenError) if text == "second" else nullcontext(),
            atomic_write(tmp_path / "file", exclusive=True) as partial,
        ):
            partial.write_text(text)
    assert (tmp_path / "file").read_text() == "first"
    assert names(tmp_path) == ["file"]


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


def test_a_file_system_without_locks_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(atomic.FileLock, "acquire", refuse)
    with atomic_write(tmp_path / "a.txt") as partial:
        partial.write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
