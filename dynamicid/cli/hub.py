"""Talks to the Hugging Face hub: sizes and checksums first, then resumable downloads that are verified."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoints.published import PublishedFile
from ..errors import DynamicIDError
from ..files.atomic import atomic_write, translate_io_errors
from ..files.digests import sha256_of_files

STAGING_FOLDER = ".dynamicid-download"
"""Below ``models``: unfinished files wait here, so that a second run goes on where the first one stopped."""
SHA256 = re.compile(r"[0-9a-f]{64}")


class Unreachable(Exception):
    """The hub did not answer; the text says why."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file as the hub has it now. ``size`` in bytes; ``sha256`` None where the hub tells none."""

    item: PublishedFile
    size: int
    sha256: str | None
    revision: str


def _failures() -> tuple[type[BaseException], ...]:
    """What the hub's library raises for network trouble, whichever HTTP library it is built on."""
    from huggingface_hub.errors import HfHubHTTPError

    bases = [base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)]
    return (*bases, HfHubHTTPError, OSError, RuntimeError, ValueError)


def look_up(item: PublishedFile) -> RemoteFile:
    """Size and checksum of ``item`` from the hub.

    Raises:
        Unreachable: No connection, no such file, or an answer without a size.
        DynamicIDError: The file there is not the one this pack knows.
    """
    import huggingface_hub as hub

    try:
        url = hub.hf_hub_url(item.repo, item.remote, endpoint=_endpoint())
        answer = hub.get_hf_file_metadata(url, timeout=10)
    except _failures() as error:
        raise Unreachable(_first_line(error)) from error
    if answer.size is None:
        raise Unreachable(f"the hub tells no size for {item.remote}")
    etag = (answer.etag or "").strip('"')
    sha256 = etag if SHA256.fullmatch(etag) else None
    if item.sha256 is not None and (answer.size, sha256 or item.sha256) != (item.size, item.sha256):
        raise DynamicIDError(
            item.name,
            f"{item.source} has {answer.size} bytes and checksum {etag}, not the known {item.size} and {item.sha256}.",
            "It was replaced by another file; do not use it, and report it to the authors of this pack.",
        )
    return RemoteFile(item, answer.size, item.sha256 or sha256, answer.commit_hash or "main")


def fetch(remote: RemoteFile, models: Path, progress: Callable[[str], Any]) -> Path:
    """Downloads ``remote`` below ``models``; resumes an unfinished one, verifies it, then moves it to its place.

    Args:
        remote: What to fetch.
        models: ComfyUI's ``models`` folder.
        progress: Told in words what is being done.

    Raises:
        Unreachable: The connection broke; what was fetched stays for the next run.
        DynamicIDError: Size or checksum differ (the bad copy is removed), or the folder cannot be written.
    """
    item = remote.item
    staging = models / STAGING_FOLDER
    target = models / item.folder / item.name
    for folder in (staging, target.parent):
        with translate_io_errors(folder, "--comfyui"):
            folder.mkdir(parents=True, exist_ok=True)
    part = staging / f"{item.name}.{(remote.sha256 or str(remote.size))[:16]}.part"
    if part.exists() and part.stat().st_size > remote.size:
        part.unlink()
    done = part.stat().st_size if part.exists() else 0
    progress(f"Going on with {item.name} at {done / remote.size:.0%}" if done else f"Fetching {item.name}")
    _append(remote, part, done)
    progress(f"Checking {item.name}")
    fault = difference(part, remote)
    if fault:
        part.unlink()
        raise DynamicIDError(item.name, f"the fetched file is damaged: {fault}.", "It was deleted; try again.")
    # Over disk borders, too, the last step is a rename within the target's folder.
    with atomic_write(target, where=target.name) as partial:
        shutil.move(str(part), str(partial))
    return target


def _append(remote: RemoteFile, part: Path, done: int) -> None:
    """Fetches what ``part`` lacks after ``done`` bytes. The library's own download starts anew in every process."""
    import huggingface_hub as hub
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    item = remote.item
    url = hub.hf_hub_url(item.repo, item.remote, revision=remote.revision, endpoint=_endpoint())
    try:
        with part.open("ab") as file:
            http_get(url, file, resume_size=done, headers=build_hf_headers(), expected_size=remote.size)
    except _failures() as error:
        raise Unreachable(_first_line(error)) from error


def difference(path: Path, remote: RemoteFile) -> str | None:
    """How ``path`` differs from the published file; None if it does not."""
    size = path.stat().st_size
    if size != remote.size:
        return f"it has {size} bytes, the published file {remote.size}"
    if remote.sha256 is None:
        return None
    return None if sha256_of_files(path) == remote.sha256 else "its SHA-256 checksum differs from the published one"


def clean_up(models: Path) -> None:
    """Removes the staging folder once nothing unfinished is left to resume."""
    shutil.rmtree(models / STAGING_FOLDER, ignore_errors=True)


def _endpoint() -> str | None:
    """HF_ENDPOINT (a mirror), or the library's own."""
    return os.getenv("HF_ENDPOINT") or None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
