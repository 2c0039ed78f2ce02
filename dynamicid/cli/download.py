"""``download``: published weights, image encoder and face pack into a ComfyUI's folders."""

import shutil
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ..checkpoints.published import OFFICIAL_BUFFALO, PUBLISHED_FILES, PublishedFile
from ..errors import DynamicIDError
from . import hub
from .output import console, fail, plain_errors, readable_size
from .places import find_comfyui


class FileGroup(Enum):
    """Groups of files for ``--only``."""

    dynamicid = "dynamicid"
    clip_vision = "clip_vision"
    insightface = "insightface"


@plain_errors
def download(
    comfyui: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="ComfyUI's folder; found by itself if you leave it out.")
    ] = None,
    only: Annotated[list[FileGroup] | None, typer.Option(help="Only this group; may be given more than once.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; accepts the licences shown.")] = False,
    only_list: Annotated[bool, typer.Option("--list", help="Show files, places and sources; fetch nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ from the published ones.")] = False,
) -> None:
    """Fetch everything the nodes need into ComfyUI's folders: sizes first, resumable, verified."""
    groups = {group.value for group in only or FileGroup}
    items = [item for item in PUBLISHED_FILES if item.group in groups]
    if only_list:
        _show_plan(items)
        return
    models = find_comfyui(comfyui) / "models"
    try:
        import huggingface_hub  # noqa: F401
    except ModuleNotFoundError as error:
        _show_plan(items)
        raise fail("this command needs 'huggingface_hub': python -m pip install huggingface_hub") from error
    _run(items, models, yes, force)


def _run(items: list[PublishedFile], models: Path, yes: bool, force: bool) -> None:
    try:
        with console(stderr=True).status("Asking for sizes ..."):
            remotes = [hub.look_up(item) for item in items]
        wanted = _missing(remotes, models, force)
        if not wanted:
            console().print("Everything is there already, and complete.", style="green")
            return
        _check_space(wanted, models)
        _show_sizes(wanted)
        _ask(wanted, yes)
        for remote in wanted:
            place = hub.fetch(remote, models, lambda text: console().print(text, markup=False))
            console().print(f"Done: {place}", markup=False)
    except hub.Unreachable as error:
        _show_plan(items)
        raise fail(
            f"huggingface.co cannot be reached or does not give the files ({error}). Fetch the files above "
            f"by other means and put them into {models.parent}; run this command again to go on."
        ) from error
    hub.clean_up(models)
    console().print("All files are in place. Restart ComfyUI or press R in its page to see them.", style="green")


def _missing(remotes: list[hub.RemoteFile], models: Path, force: bool) -> list[hub.RemoteFile]:
    """What is not there yet; a file of other contents is an error unless ``force``."""
    wanted = []
    for remote in remotes:
        target = models / remote.item.folder / remote.item.name
        if not target.exists():
            wanted.append(remote)
            continue
        fault = hub.difference(target, remote)
        if fault is None:
            console().print(f"Already there: {target}", markup=False)
        elif force:
            wanted.append(remote)
        else:
            raise DynamicIDError(
                remote.item.name,
                f"'{target}' is not the published file: {fault}.",
                "Delete it, or replace it with --force.",
            )
    return wanted


def _check_space(wanted: list[hub.RemoteFile], models: Path) -> None:
    needed = sum(remote.size for remote in wanted)
    folder = next(folder for folder in (models, *models.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DynamicIDError(
            "disk",
            f"{readable_size(needed)} are needed and {readable_size(free)} are free on the disk of '{folder}'.",
            "Free some space, or fetch fewer files with --only.",
        )


def _show_sizes(wanted: list[hub.RemoteFile]) -> None:
    table = Table("file", "size", "place", "licence")
    for remote in wanted:
        table.add_row(remote.item.name, readable_size(remote.size), remote.item.place, remote.item.licence)
    console().print(table)
    console().print(f"Together {readable_size(sum(remote.size for remote in wanted))}.", markup=False)


def _ask(wanted: list[hub.RemoteFile], yes: bool) -> None:
    """Consent to the download, and to licences that ask for it."""
    restricted = sorted({remote.item.licence for remote in wanted if remote.item.confirm})
    for licence in restricted:
        console().print(f"Licence: {licence}.", markup=False, style="yellow")
    question = "Do you accept this licence and fetch the files?" if restricted else "Fetch them now?"
    if not yes and not typer.confirm(question):
        raise fail("nothing was fetched. Use --only to leave out files whose licence does not suit you.")


def _show_plan(items: list[PublishedFile]) -> None:
    """Files, places, sources and licences, one block a file: to copy from a terminal."""
    out = console()
    for item in items:
        size = f", {readable_size(item.size)}" if item.size is not None else ""
        out.print(f"{item.name} ({item.purpose}{size})", markup=False, style="bold")
        out.print(f"  put it at  {item.place}", markup=False)
        out.print(f"  source     {item.source}", markup=False)
        out.print(f"  licence    {item.licence}", markup=False)
        if item.sha256 is not None:
            out.print(f"  SHA-256    {item.sha256}", markup=False)
    if any(item.group == "insightface" for item in items):
        out.print(f"The face pack's official archive: {OFFICIAL_BUFFALO}", markup=False)
