"""The nearest neighbours of very many photos: an inverted file (IVF; Jégou et al. 2011), made and searched in parts.

k-means of a sample (faiss; Johnson et al. 2019) gives the centres of the lists. A vector belongs to the list of its
nearest centre, and its neighbours are looked for in the ``probes`` lists whose centres are nearest to it. There are
about 4 sqrt(n) lists, so the search takes n^1.5 steps. Within a list it is exact: the recall is the share of true
neighbours that lie in a probed list. It is measured with a thousand photos compared with all.

    train     one job: ``centres.npy``, ordered so that those near each other follow, and ``asked.npz``, the sample
    store     a job for some measured parts: their vectors sorted by list, and the sample compared with them
    search    a job for some lists: the neighbours of their photos, and groups of those among them

Each job writes one file or folder of ``Index.folder`` and runs on any machine of a cluster. A job holds the vectors of
its part and of one list at a time; the driver holds no photo's vector.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np

from ..files.atomic import atomic_write

NEIGHBOURS = 32
EXACT_MOST = 20_000
"""Fewer vectors are compared all with all."""
RECALL = 0.993
"""Aimed at: so many lists are probed that a sample of photos finds this share of its true neighbours."""
STORE_PHOTOS, SEARCH_PHOTOS = 32_768, 16_384
"""Photos of a job."""
_ASKED = 1000
_LISTS_PER_ROOT, _PHOTOS_PER_LIST, _ITERATIONS = 4, 24, 6
"""Of k-means: the sample has so many photos per list."""
_POWER_ITERATIONS = 10


@dataclass(frozen=True)
class Index:
    """An inverted file in a folder.

    Attributes:
        folder: Holds all of it.
        count: Number of vectors; they are numbered from 0.
    """

    folder: Path
    count: int

    def __reduce__(self) -> tuple[type["Index"], tuple[Path, int]]:
        # The mapped files do not travel with a job.
        return Index, (self.folder, self.count)

    @property
    def lists(self) -> int:
        """Number of lists."""
        return max(1, round(_LISTS_PER_ROOT * self.count**0.5))

    @property
    def centres_path(self) -> Path:
        """What ``train`` writes last."""
        return self.folder / "centres.npy"

    def stored_path(self, part: int) -> Path:
        """What ``store`` writes."""
        return self.folder / f"stored-{part:05d}"

    def train(self, read: Callable[[], Iterator[np.ndarray]]) -> None:
        """Writes the centres and the photos that measure the recall; ``read``: all vectors in order, in blocks."""
        random = np.random.default_rng(0)
        wanted = np.sort(random.permutation(self.count)[: _PHOTOS_PER_LIST * self.lists])
        parts, start = [], 0
        for vectors in read():
            inside = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, start + len(vectors))]
            parts.append(vectors[inside - start])
            start += len(vectors)
        sample = np.concatenate(parts)
        kmeans = faiss.Kmeans(
            sample.shape[1], self.lists, niter=_ITERATIONS, spherical=True, seed=0, min_points_per_centroid=1,
            max_points_per_centroid=_PHOTOS_PER_LIST,
        )  # fmt: skip
        kmeans.train(sample)
        centres = np.asarray(kmeans.centroids)
        asked = random.permutation(len(sample))[:_ASKED]
        with atomic_write(self.folder / "asked.npz") as partial, partial.open("wb") as file:
            np.savez(file, numbers=wanted[asked], vectors=sample[asked])
        with atomic_write(self.centres_path) as partial, partial.open("wb") as file:
            np.save(file, centres[_near_order(centres)])

    def store(self, part: int, start: int, vectors: np.ndarray) -> None:
        """Writes vectors (n, d), whose numbers begin at ``start``, sorted by list."""
        centres, asked = self._centres(), self._asked()
        home = nearest(vectors, centres, 1)[1][:, 0]
        order = np.argsort(home, kind="stable")
        similar, near = nearest(asked["vectors"], vectors, NEIGHBOURS + 1)
        with atomic_write(self.stored_path(part)) as partial:
            partial.mkdir()
            np.save(partial / "vectors.npy", vectors[order])
            np.save(partial / "numbers.npy", order + start)
            np.save(partial / "ends.npy", np.cumsum(np.bincount(home, minlength=len(centres))))
            np.savez(partial / "asked.npz", similar=similar, numbers=near + start, lists=home[near])

    def sizes(self) -> np.ndarray:
        """(lists,) number of vectors of each list."""
        ends = [np.load(path / "ends.npy") for path in self.folder.glob("stored-*")]
        return np.diff(np.sum(ends, axis=0), prepend=0)

    def recall(self) -> tuple[int, float]:
        """How many lists must be probed, and the recall that this gives for the sample."""
        asked = self._asked()
        parts = [np.load(path / "asked.npz") for path in sorted(self.folder.glob("stored-*"))]
        similar, numbers, lists = (
            np.concatenate([part[name] for part in parts], axis=1) for name in ("similar", "numbers", "lists")
        )
        similar[numbers == asked["numbers"][:, None]] = -2  # a photo is no neighbour of itself
        best = np.argsort(-similar, axis=1, kind="stable")[:, :NEIGHBOURS]
        ranks = np.argsort(np.argsort(-asked["vectors"] @ self._centres().T, axis=1), axis=1)
        place = np.take_along_axis(ranks, np.take_along_axis(lists, best, axis=1), axis=1)
        probes = int(np.sort(place, axis=None)[int(np.ceil(RECALL * place.size)) - 1]) + 1
        return probes, float((place < probes).mean())

    def vectors_of(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (n,) and vectors (n, d) of the lists ``first`` .. ``last`` - 1."""
        numbers, vectors = [], []
        for ends, part_numbers, part_vectors in self._parts:
            rows = slice(int(ends[first - 1]) if first else 0, int(ends[last - 1]))
            numbers.append(part_numbers[rows])
            vectors.append(part_vectors[rows])
        return np.concatenate(numbers), np.concatenate(vectors)

    def region(self, number: int, size: int) -> np.ndarray:
        """About ``size`` vectors (n, d) near a photo of the sample."""
        centres, vector = self._centres(), self._asked()["vectors"][number]
        parts: list[np.ndarray] = []
        for at in np.argsort(-(centres @ vector), kind="stable").tolist():
            parts.append(self.vectors_of(at, at + 1)[1])
            if sum(map(len, parts)) >= size:
                break
        return np.concatenate(parts)[:size]

    def search(self, vectors: np.ndarray, probes: int) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and numbers (n, NEIGHBOURS + 1) of the nearest of all vectors to these (n, d), themselves among them.

        Where fewer were found, the number is -1.
        """
        probed = nearest(vectors, self._centres(), probes)[1]
        order = np.argsort(probed, axis=None, kind="stable")
        lists, starts = np.unique(probed.ravel()[order], return_index=True)
        heap = faiss.ResultHeap(len(vectors), NEIGHBOURS + 1, keep_max=True)
        for at, rows in zip(lists.tolist(), np.split(order // probed.shape[1], starts[1:]), strict=True):
            numbers, members = self.vectors_of(at, at + 1)
            if len(members):
                similar, near = nearest(vectors[rows], members, NEIGHBOURS + 1)
                heap.add_result_subset(rows, similar, numbers[near])
        heap.finalize()
        return heap.D, heap.I

    @cached_property
    def _parts(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Ends of the lists, numbers and vectors of each part that was stored, mapped from their files."""
        names = ("ends", "numbers", "vectors")
        paths = sorted(self.folder.glob("stored-*"))
        return [tuple(np.load(path / f"{name}.npy", mmap_mode="r") for name in names) for path in paths]

    def _centres(self) -> np.ndarray:
        return np.load(self.centres_path)

    def _asked(self) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / "asked.npz"))


def nearest(vectors: np.ndarray, among: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inner products and indices (n, count) of the nearest of ``among`` (m, d) to vectors (n, d); at most m of them."""
    return faiss.knn(vectors, among, min(count, len(among)), faiss.METRIC_INNER_PRODUCT)


def nearest_of_each(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and indices (n, NEIGHBOURS + 1) of the nearest vectors to each of them, itself among them.

    Exact for at most EXACT_MOST vectors (n, d), else by an index.
    """
    if len(vectors) <= EXACT_MOST:
        return nearest(vectors, vectors, NEIGHBOURS + 1)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        index = Index(Path(folder), len(vectors))
        index.train(lambda: iter([vectors]))
        index.store(0, 0, vectors)
        probes, _ = index.recall()
        return index.search(vectors, probes)


def _near_order(centres: np.ndarray) -> np.ndarray:
    """An order of centres (n, d) in which those near each other follow: halved again and again along the main axis."""
    order = np.arange(len(centres))
    if len(centres) <= 2:
        return order
    offset = centres - centres.mean(axis=0)
    axis = offset[0]
    for _ in range(_POWER_ITERATIONS):
        axis = offset.T @ (offset @ axis)
        axis = axis / max(float(np.linalg.norm(axis)), 1e-12)
    order = np.argsort(offset @ axis, kind="stable")
    halves = np.array_split(order, 2)
    return np.concatenate([half[_near_order(centres[half])] for half in halves])
