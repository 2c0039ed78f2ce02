"""Which files lie in folders, links and capitals included, and what is passed over there; names for every system."""

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from .skipped import Skipped

SIDECAR_SUFFIXES = (".txt", ".json")
"""Of files that belong to the one of the same name beside them, such as captions."""
NO_CONTENT = ("annotations.jsonl", "thumbs.db", "desktop.ini")
"""Left out like hidden files: the index that ``synthetic`` writes, and files that Windows adds."""
LONGEST_NAME = 255
"""Bytes."""
_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
"""What Windows accepts in no name, or as no name."""


def is_portable_name(name: str) -> bool:
    """Whether Windows, macOS and Linux accept a file of this name."""
    return bool(name) and not _REFUSED.search(name) and len(os.fsencode(name)) <= LONGEST_NAME


def find_files(root: Path, suffixes: Collection[str], recursive: bool = True) -> Iterator[tuple[Path, str]]:
    """Files of some kinds, sorted by name, folder by folder, and what else is there.

    Linked files count, and linked folders as if they lay there; each folder is read once, so that links may form a
    cycle. Hidden files and folders are left out, and so are sidecars of the files found.

    Args:
        root: A folder.
        suffixes: In lower case, with the dot; capitals in names do not count.
        recursive: Whether folders in it are searched.

    Yields:
        A path, and why it is passed over: "" for the files.
    """
    real = Path(os.path.realpath(root))
    yield from _find(root, suffixes, recursive, (real,), {real})


def visible(folder: Path) -> list[Path]:
    """What lies in a folder, sorted by name, without hidden files and NO_CONTENT. Raises OSError: It is unreadable."""
    paths = sorted(folder.iterdir())
    return [path for path in paths if not path.name.startswith(".") and path.name.lower() not in NO_CONTENT]


def _find(
    folder: Path, suffixes: Collection[str], recursive: bool, opened: tuple[Path, ...], read: set[Path]
) -> Iterator[tuple[Path, str]]:
    """opened: real paths of the root and of the linked folders around ``folder``. read: of all folders so far."""
    try:
        paths = visible(folder)
    except OSError:
        yield folder, "unreadable folder"
        return
    stems = {path.stem for path in paths if path.suffix.lower() in suffixes}
    for path in paths:
        # The functions of os.path answer False where those of Path raise, such as for names that are too long.
        if os.path.isdir(path):
            target = Path(os.path.realpath(path))
            reason = _why_not_entered(path, target, opened, read) if recursive else "a folder"
            if reason:
                yield path, reason
                continue
            read.add(target)
            yield from _find(path, suffixes, True, (*opened, target) if path.is_symlink() else opened, read)
        elif path.suffix.lower() in suffixes:
            yield path, ""
        elif not os.path.exists(path):
            yield path, "link to nothing"
        elif path.suffix.lower() not in SIDECAR_SUFFIXES or path.stem not in stems:
            yield path, f"not read: {path.suffix.lower() or 'a file without ending'}"


def _why_not_entered(path: Path, target: Path, opened: tuple[Path, ...], read: set[Path]) -> str:
    if path.is_symlink() and any(base.is_relative_to(target) for base in opened):
        return "link to a folder around it"
    if target in read or (path.is_symlink() and any(target.is_relative_to(base) for base in opened)):
        return "the same folder again"
    return ""


def passed_over(root: Path, found: Collection[tuple[Path, str]]) -> list[Skipped]:
    """What ``find_files`` passed over, by its path in ``root``."""
    return [Skipped(path.relative_to(root).as_posix(), reason) for path, reason in found if reason]
