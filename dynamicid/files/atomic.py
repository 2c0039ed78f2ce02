"""Files and folders that appear under their name only when they are complete, and errors of writing them."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from ..errors import DynamicIDError

_LOCK, _REPLACED = "lock", "replaced"
_OWN_NAME = re.compile(r"\.[0-9a-f]{8}\.partial")
"""Short, as paths of sockets (curation) have at most 107 characters."""
_cleaned: set[Path] = set()
"""Folders without leftovers of processes that were killed before this one began."""


class DiskFullError(DynamicIDError):
    """There is no room for a file. Commands that need more than a second run replace the remedy."""


class NameTakenError(DynamicIDError):
    """A file of that name exists already."""


@contextmanager
def atomic_write(
    path: Path, needed_bytes: int = 0, where: str | None = None, exclusive: bool = False
) -> Iterator[Path]:
    """A temporary path near ``path``; what was written there is moved to ``path`` once the block ends well.

    It lies in a folder of its own, locked as long as the process lives: processes that write the same file do not
    disturb each other, the last one wins, and what a killed process left is removed at the next write beside it.

    Args:
        path: File or folder to write; its parent is made, and an earlier one of that name is replaced.
        needed_bytes: Free space to ask for before starting; 0 = do not ask.
        where: Node input or option that an error names; None = the path.
        exclusive: Whether an earlier file stays instead; for files only.

    Raises:
        DynamicIDError: The disk is full, or the place cannot be written. Nothing is left behind.
        NameTakenError: ``exclusive``, and there is such a file.
    """
    with translate_io_errors(path, where, needed_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        with own_folder(path.parent) as own:
            if needed_bytes and shutil.disk_usage(path.parent).free < needed_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield own / "new"
            if exclusive:
                _move_if_free(own / "new", path, where)
            else:
                _replace(own / "new", path, own / _REPLACED)


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """A new hidden folder of this user; it ends with the block or, after a kill, with the next process's block."""
    if parent not in _cleaned:
        _cleaned.add(parent)
        remove_partials(parent, recursive=False)
    while True:
        folder = parent / f".{uuid4().hex[:8]}.partial"
        folder.mkdir(mode=0o700)
        lock = FileLock(folder / _LOCK)
        try:
            if _is_kept(lock, folder):
                yield folder
                return
        finally:
            lock.release()
            _clear(folder)


def _is_kept(lock: FileLock, folder: Path) -> bool:
    """Locks a new folder; False if another process took it for a leftover before that."""
    try:
        lock.acquire()
    except NotImplementedError:  # a file system without locks: what a killed process leaves there stays
        return True
    except FileNotFoundError:
        return False
    return (folder / _LOCK).exists()


def _move_if_free(new: Path, path: Path, where: str | None) -> None:
    try:
        if os.name == "nt":
            new.rename(path)
            return
        try:
            os.link(new, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            path.touch(exist_ok=False)
            new.replace(path)
    except FileExistsError as error:
        raise NameTakenError(where or str(path), f"'{path}' exists already.", "Choose another name.") from error


def _replace(new: Path, path: Path, aside: Path) -> None:
    """Only an empty folder can be replaced in one step: another one is set aside first."""
    if path.is_dir():
        aside.mkdir()
        path.replace(aside / path.name)
    new.replace(path)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8; raises DynamicIDError as ``atomic_write``."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def translate_io_errors(path: Path, where: str | None = None, needed_bytes: int = 0) -> Iterator[None]:
    """Turns errors of writing ``path`` into a DynamicIDError.

    Args:
        path: What is written.
        where: Node input or option that the error names; None = the path.
        needed_bytes: Size to tell where the disk is full; 0 = unknown.

    Raises:
        DynamicIDError: The disk is full (``DiskFullError``), or the place cannot be written.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if _is_disk_full(error):
            size = f"the {needed_bytes / 1e6:.0f} MB of " if needed_bytes else ""
            found = f"The disk is full: '{path.parent}' has no room for {size}'{path.name}' ({error})."
            raise DiskFullError(where or str(path), found, "Free some space, then run it again.") from error
        if isinstance(error, RuntimeError):
            raise
        found = f"'{path}' cannot be written ({type(error).__name__}: {error})."
        raise DynamicIDError(where or str(path), found, "Choose a folder you may write to.") from error


def _is_disk_full(error: Exception) -> bool:
    """torch and safetensors wrap the operating system's error in their own."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left" in str(error) or "PytorchStreamWriter failed" in str(error)


def remove_partials(folder: Path, recursive: bool = True) -> None:
    """Removes the temporary folders that killed processes left in ``folder`` and, ``recursive``, below it.

    Those of living processes stay, of other machines on a file system without shared locks, too.
    """
    for path in list((folder.rglob if recursive else folder.glob)(".*.partial")):
        if _OWN_NAME.fullmatch(path.name) and path.is_dir():
            with suppress(Timeout, OSError, NotImplementedError), FileLock(path / _LOCK, timeout=0):
                _clear(path)


def _clear(partial: Path) -> None:
    """Removes a temporary folder; a folder that was set aside and not replaced goes back to its name."""
    aside = partial / _REPLACED
    for earlier in aside.iterdir() if aside.is_dir() else ():
        if not (partial.parent / earlier.name).exists():
            earlier.replace(partial.parent / earlier.name)
    remove(partial)


def discard(path: Path) -> None:
    """Removes a file or a whole folder; a process that is killed on the way leaves no half of it under its name."""
    try:
        with own_folder(path.parent) as own:
            path.replace(own / path.name)
    except OSError:  # no room for another folder
        remove(path)


def remove(path: Path) -> None:
    """Removes a file or a whole folder; no error if it does not exist."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
