"""Paints the benchmark on a ComfyUI; what was painted before is kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DynamicIDError
from ..files.atomic import atomic_write
from ..files.digests import sha256_hex
from ..files.pictures import decode
from ..files.skipped import BadSample, Skipped
from .benchmark import Benchmark, Item, picture_name
from .people import Person
from .scoring import Show
from .server import ComfyServer
from .workflows import Graph, Workflow, fill, values_of, workflow_for


@dataclass(frozen=True)
class Order:
    """A picture to be painted: an item, the noise's seed, and the file it becomes."""

    item: Item
    seed: int
    target: Path

    @property
    def name(self) -> str:
        """Of the picture within the run."""
        return f"{self.target.parent.name}/{self.target.name}"


def orders_for(items: Sequence[Item], seeds: Mapping[str, Sequence[int]], folder: Path) -> list[Order]:
    """Every item with every one of its seeds; ``seeds``: by item."""
    return [Order(item, seed, folder / picture_name(item.item, seed)) for item in items for seed in seeds[item.item]]


class Record:
    """Which graph each picture of a run was painted from, kept as ``run.json``.

    Args:
        out: Folder of the run.

    Raises:
        DynamicIDError: The file is there and is none.
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

    def state(self, order: Order, digest: str) -> str:
        """ "painted" from this very graph, "missing", or "other": painted from another one."""
        if not order.target.is_file() or order.name not in self._digests:
            return "missing"
        return "painted" if self._digests[order.name] == digest else "other"

    def note(self, order: Order, digest: str) -> None:
        """Writes down that a picture was painted."""
        self._digests[order.name] = digest
        with atomic_write(self._path) as partial:
            partial.write_text(json.dumps(self._digests, indent=1, sort_keys=True) + "\n", encoding="utf-8")


class Studio:
    """Paints orders, and uploads a person's photo when it is needed first.

    Args:
        server: Where.
        benchmark: What the orders come from.
        people: By slot.
        record: Of the run.
    """

    def __init__(self, server: ComfyServer, benchmark: Benchmark, people: Mapping[str, Person], record: Record) -> None:
        self._server, self._benchmark, self._people, self._record = server, benchmark, people, record
        self._uploaded: set[str] = set()

    def paint(
        self, orders: Sequence[Order], workflows: Mapping[int, Workflow], stage: str, show: Show
    ) -> list[Skipped]:
        """Paints what is not there yet.

        Args:
            orders: What is wanted.
            workflows: By number of people.
            stage: Its name for ``show``.
            show: Told after each picture.

        Returns:
            What could not be painted, and why; a rerun tries again.

        Raises:
            DynamicIDError: The server is gone, the folder cannot be written, or pictures there were painted from
                something else.
        """
        jobs = [(order, self._graph(order, workflows)) for order in orders]
        states = [None if graph is None else self._record.state(order, digest_of(graph)) for order, graph in jobs]
        if "other" in states:
            found = f"{states.count('other')} pictures there were painted from another workflow, photo or benchmark."
            folder = orders[0].target.parent
            raise DynamicIDError(str(folder), found, "Choose another --out, or remove them to have them painted anew.")
        skipped = []
        for done, ((order, graph), state) in enumerate(zip(jobs, states, strict=True), 1):
            try:
                if graph is None:
                    raise BadSample(f"no workflow for {len(order.item.people)} people")
                if state == "missing":
                    self._paint(order, graph)
            except BadSample as error:
                skipped.append(Skipped(order.target.name, f"{stage}: {error}"))
            show(stage, done, len(orders))
        return skipped

    def _graph(self, order: Order, workflows: Mapping[int, Workflow]) -> Graph | None:
        workflow = workflow_for(workflows, order.item)
        if workflow is None:
            return None
        photos = [_upload_name(self._people[subject.person]) for subject in order.item.people]
        return fill(workflow, values_of(order.item, order.seed, self._benchmark, photos))

    def _paint(self, order: Order, graph: Graph) -> None:
        text = json.dumps(graph)
        for person in (self._people[subject.person] for subject in order.item.people):
            name = _upload_name(person)
            if name in text and name not in self._uploaded:
                self._server.upload(name, person.photo)
                self._uploaded.add(name)
        content = self._server.paint(graph)
        decode(content)
        with atomic_write(order.target) as partial:
            partial.write_bytes(content)
        self._record.note(order, digest_of(graph))


def digest_of(graph: Graph) -> str:
    """16 hex digits of a graph: prompt, seed, photos and all."""
    return sha256_hex(json.dumps(graph, sort_keys=True))[:16]


def _upload_name(person: Person) -> str:
    return f"dynamicid-evaluate-{person.digest}.png"
