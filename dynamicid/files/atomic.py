"""Files and folders that appear under their name only when they are complete, and errors of writing them."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ..errors import DynamicIDError


class DiskFullError(DynamicIDError):
    """There is no room for a file. Commands that need more than a second run replace the remedy."""


@contextmanager
def atomic_write(path: Path, needed_bytes: int = 0, where: str | None = None) -> Iterator[Path]:
    """A temporary path beside ``path``; what was written there is moved to ``path`` once the block ends well.

    The temporary name is unique, so processes that write the same file do not disturb each other: the last one wins.
    A killed process leaves its temporary file behind; ``remove_partials`` finds it.

    Args:
        path: File or folder to write; its parent is made, and an earlier one of that name is replaced.
        needed_bytes: Free space to ask for before starting; 0 = do not ask.
        where: Node input or option that an error names; None = the path.

    Raises:
        DynamicIDError: The disk is full, or the place cannot be written. Nothing is left behind.
    """
    partial = path.with_name(f".{uuid4().hex}.partial")
    with translate_io_errors(path, where, needed_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        if needed_bytes and shutil.disk_usage(path.parent).free < needed_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            yield partial
            if path.is_dir():
                remove(path)
            os.replace(partial, path)
        finally:
            remove(partial)


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


def remove_partials(folder: Path) -> None:
    """Removes the temporary files that killed processes left below ``folder``, which nobody else may be writing."""
    for path in list(folder.rglob(".*.partial")):
        remove(path)


def remove(path: Path) -> None:
    """Removes a file or a whole folder; no error if it does not exist."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
