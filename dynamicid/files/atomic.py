"""Files and folders that are either complete or not there; a full disk in words."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..errors import DynamicIDError


@contextmanager
def atomic_write(path: Path, needed_bytes: int = 0) -> Iterator[Path]:
    """A place to write to; what was written there is moved to ``path`` once the block ends well.

    Args:
        path: File or folder to be; an earlier one of that name is replaced.
        needed_bytes: Free space to ask for before starting.

    Raises:
        DynamicIDError: The disk is full, or the place cannot be written. Nothing half-done is left behind.
    """
    partial = path.with_name(f".{path.name}.partial")
    with translate_io_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove(partial)
            if shutil.disk_usage(path.parent).free < needed_bytes:
                raise OSError(errno.ENOSPC, f"{needed_bytes / 1e6:.0f} MB needed")
            yield partial
            if path.is_dir():
                remove(path)
            os.replace(partial, path)
        except BaseException:
            remove(partial)
            raise


@contextmanager
def translate_io_errors(path: Path) -> Iterator[None]:
    """Errors of writing ``path`` as a DynamicIDError: the disk is full, or the place cannot be written."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if _is_full(error):
            raise DynamicIDError(
                str(path), f"The disk is full ({error}).", "Free some space; --resume goes on from the last checkpoint."
            ) from error
        if isinstance(error, OSError):
            raise DynamicIDError(
                str(path), f"It cannot be written ({error}).", "Choose a folder you may write to."
            ) from error
        raise


def _is_full(error: Exception) -> bool:
    """torch and safetensors wrap the operating system's error in their own."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left" in str(error) or "PytorchStreamWriter failed" in str(error)


def remove(path: Path) -> None:
    """A file or a whole folder; no error if it is not there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
