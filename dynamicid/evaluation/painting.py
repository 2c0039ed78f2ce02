"""Paints the benchmark on one or more ComfyUI servers; what was painted before is kept."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import DynamicIDError
from ..files.atomic import atomic_write, write_text
from ..files.digests import sha256_hex
from ..files.pictures import decode
from ..files.skipped import BadSample, Skipped
from .benchmark import Benchmark, Item, picture_name
from .comfy_client import ComfyClient, Graph, PromptError, ServerError, title_of
from .pictures import BenchmarkPerson
from .scoring import ProgressCallback
from .servers import no_server, share_jobs
from .workflows import Workflow, fill, values_of, workflow_for

_LARGEST_PICTURE = 256 << 20
"""Bytes."""


@dataclass(frozen=True)
class PaintJob:
    """A picture to be painted: an item, the seed of its noise, and the file it becomes."""

    item: Item
    seed: int
    target: Path

    @property
    def name(self) -> str:
        """Of the picture within the run: "pictures/one-001_1000.png"."""
        return f"{self.target.parent.name}/{self.target.name}"


def paint_jobs(items: Sequence[Item], seeds: Mapping[str, Sequence[int]], folder: Path) -> list[PaintJob]:
    """Every item with every one of its seeds; ``seeds``: by item."""
    return [PaintJob(item, seed, folder / picture_name(item.item, seed)) for item in items for seed in seeds[item.item]]


class RunManifest:
    """Which graph each picture of a run was painted from: digests by picture, kept as ``run.json``.

    Args:
        out: Folder of the run.

    Raises:
        DynamicIDError: There is such a file, but it is no manifest.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / "run.json"
        self._digests: dict[str, str] = {}
        if self._path.is_file():
            try:
                self._digests = dict(json.loads(self._path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise DynamicIDError(
                    str(self._path), f"It cannot be read ({error}).", "Choose another --out."
                ) from error

    def state(self, job: PaintJob, digest: str) -> str:
        """ "painted" from this very graph, "missing", or "other": painted from another one."""
        if not job.target.is_file() or job.name not in self._digests:
            return "missing"
        return "painted" if self._digests[job.name] == digest else "other"

    def add(self, job: PaintJob, digest: str) -> None:
        """Records that a picture was painted, and writes the file."""
        self._digests[job.name] = digest
        write_text(self._path, json.dumps(self._digests, indent=1, sort_keys=True) + "\n")


class BenchmarkPainter:
    """Paints jobs on servers, and uploads a person's photo to each before its first use there.

    Args:
        clients: The servers. Each paints one picture at a time; one that stops answering is left.
        benchmark: What the jobs come from.
        people: By slot.
        manifest: Of the run.
        output_node: Id or title of the node whose picture counts; None = the last Save Image.
        most_seconds: A picture that takes longer is given up.

    Raises:
        DynamicIDError: No server answers at one of the addresses.
    """

    def __init__(
        self, clients: Sequence[ComfyClient], benchmark: Benchmark, people: Mapping[str, BenchmarkPerson],
        manifest: RunManifest, output_node: str | None = None, most_seconds: float = 1800,
    ) -> None:  # fmt: skip
        self._clients, self._benchmark, self._people, self._manifest = list(clients), benchmark, people, manifest
        self._output_node, self._most_seconds = output_node, most_seconds
        self._uploaded: set[tuple[str, str]] = set()
        for client in self._clients:
            try:
                client.get("system_stats")
            except ServerError as error:
                raise no_server(client, error) from error

    def paint(
        self, jobs: Sequence[PaintJob], workflows: Mapping[int, Workflow], stage: str, show: ProgressCallback
    ) -> list[Skipped]:
        """Paints what is not there yet. Files and their contents do not depend on the number of servers.

        Args:
            jobs: The pictures to paint.
            workflows: By number of people.
            stage: Its name for ``show``.
            show: Called after each picture.

        Returns:
            What could not be painted, and why, in the order of ``jobs``; a rerun tries again.

        Raises:
            DynamicIDError: All servers are gone, the folder cannot be written, or pictures there were painted from
                something else.
        """
        graphs = [self._graph(job, workflows) for job in jobs]
        states = [
            None if graph is None else self._manifest.state(job, digest_of(graph))
            for job, graph in zip(jobs, graphs, strict=True)
        ]
        if "other" in states:
            found = f"{states.count('other')} pictures there were painted from another workflow, photo or benchmark."
            folder = jobs[0].target.parent
            raise DynamicIDError(str(folder), found, "Choose another --out, or remove them to have them painted anew.")
        faults = {
            i: f"no workflow for {len(job.item.people)} people"
            for i, (job, graph) in enumerate(zip(jobs, graphs, strict=True))
            if graph is None
        }
        missing = [(i, graph) for i, graph in enumerate(graphs) if graph is not None and states[i] == "missing"]
        done = len(jobs) - len(missing)
        show(stage, done, len(jobs))

        def work(client: ComfyClient, task: tuple[int, Graph], on_poll: Callable[[], None]) -> bytes:
            return self._paint(client, jobs[task[0]].item, task[1], on_poll)

        def on_end(task: tuple[int, Graph], painted: Future[bytes]) -> None:
            nonlocal done
            i, graph = task
            try:
                content = painted.result()
            except BadSample as error:
                faults[i] = str(error)
            else:
                with atomic_write(jobs[i].target) as partial:
                    partial.write_bytes(content)
                self._manifest.add(jobs[i], digest_of(graph))
            done += 1
            show(stage, done, len(jobs))

        share_jobs(missing, self._clients, work, on_end)
        return [Skipped(jobs[i].target.name, f"{stage}: {faults[i]}") for i in sorted(faults)]

    def _graph(self, job: PaintJob, workflows: Mapping[int, Workflow]) -> Graph | None:
        workflow = workflow_for(workflows, job.item)
        if workflow is None:
            return None
        photos = [_upload_name(self._people[subject.person]) for subject in job.item.people]
        return fill(workflow, values_of(job.item, job.seed, self._benchmark, photos))

    def _paint(self, client: ComfyClient, item: Item, graph: Graph, on_poll: Callable[[], None]) -> bytes:
        """The picture's file, checked."""
        text = json.dumps(graph)
        try:
            for person in (self._people[subject.person] for subject in item.people):
                if _upload_name(person) in text:
                    self._upload(client, person)
            outputs = client.run(graph, self._most_seconds, on_poll).get("outputs") or {}
            content = client.view(chosen_image(outputs, graph, self._output_node))
        except PromptError as error:
            raise BadSample(str(error)) from error
        if len(content) > _LARGEST_PICTURE:
            raise BadSample("the picture is too large")
        decode(content)
        return content

    def _upload(self, client: ComfyClient, person: BenchmarkPerson) -> None:
        name = _upload_name(person)
        if (client.address, name) not in self._uploaded:
            png = io.BytesIO()
            Image.fromarray(person.photo).save(png, "PNG")
            client.upload(name, png.getvalue())
            self._uploaded.add((client.address, name))


def digest_of(graph: Graph) -> str:
    """16 hex digits of a graph: prompt, seed, photos and all."""
    return sha256_hex(json.dumps(graph, sort_keys=True))[:16]


def chosen_image(outputs: Mapping[str, Any], graph: Graph, output_node: str | None) -> dict[str, str]:
    """Filename, subfolder and type of the picture that counts.

    Args:
        outputs: Of a prompt's history entry, by node.
        graph: What ran.
        output_node: Id or title of a node; None = the last Save Image, or without one the last node with a picture.

    Raises:
        BadSample: There is no such picture.
    """
    images = {node: output["images"] for node, output in outputs.items() if output.get("images")}
    if output_node is not None:
        nodes = [node for node in images if output_node in (node, title_of(graph, node))]
        if not nodes:
            raise BadSample(f"no picture from a node '{output_node}'")
    else:
        nodes = [node for node in images if graph.get(node, {}).get("class_type") == "SaveImage"] or list(images)
        if not nodes:
            raise BadSample("the workflow saved no picture")
    order = list(graph)
    last = max(nodes, key=lambda node: order.index(node) if node in order else -1)
    return images[last][-1]


def _upload_name(person: BenchmarkPerson) -> str:
    return f"dynamicid-evaluate-{person.digest}.png"
