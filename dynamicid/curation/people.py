"""Stage 3: photos grouped by person, by given labels or by ArcFace similarity.

Grouping looks for the partition in which the mean cosine within a group is above the threshold and between groups
below it: the constant Potts model, whose resolution is that threshold, solved by Leiden (Traag et al. 2019,
arXiv 1810.08473) on each photo's nearest neighbours. The groups are then merged by the same method on their means until
nothing changes: the product of two means is the mean cosine of all pairs. This joins the photos of people with more
photos than a photo has neighbours.
"""

import random
import re
from collections import Counter

import faiss
import igraph
import numpy as np
import pyarrow as pa

from ..files.digests import sha256_hex
from ..files.folders import is_portable_name
from ..files.tables import Row, read_table
from .measuring import EMBEDDING_WIDTH
from .parts import part_numbers, part_path, stage_rows
from .settings import Settings

NEIGHBOURS = 32
SCHEMA = pa.schema({"photo_id": pa.string(), "person": pa.string(), "reason": pa.string()})
TOO_FEW = "too few photos of this person"
_MOST_ROUNDS = 20


def find_people(settings: Settings) -> list[Row]:
    """One row of SCHEMA per measured photo: its person, and a reason if that person has too few photos."""
    ids, vectors = read_embeddings(settings)
    if settings.labels == "none":
        groups = group(vectors, settings.threshold).tolist()
        first: dict[int, str] = {}
        for photo_id, number in zip(ids, groups, strict=True):
            first.setdefault(number, photo_id)
        names = ["person-" + _short(first[number]) for number in groups]
    else:
        listed = stage_rows(settings.work, "listing", ("photo_id", "label"))
        labels = {row["photo_id"]: row["label"] for row in listed}
        names = [folder_name(labels[photo_id]) for photo_id in ids]
    counts = Counter(names)
    return [
        {"photo_id": photo_id, "person": name, "reason": "" if counts[name] >= settings.fewest else TOO_FEW}
        for photo_id, name in zip(ids, names, strict=True)
    ]


def read_embeddings(settings: Settings) -> tuple[list[str], np.ndarray]:
    """Sorted ids, and (n, 512) float32 unit vectors, of all photos that were measured and not rejected."""
    ids: list[str] = []
    parts: list[np.ndarray] = []
    for number in part_numbers(settings.work, "measured"):
        table = read_table(part_path(settings.work, "measured", number), ["photo_id", "reason", "embedding"])
        table = table.filter(pa.array([not reason for reason in table["reason"].to_pylist()], type=pa.bool_()))
        ids += table["photo_id"].to_pylist()
        flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        parts.append(flat.reshape(-1, EMBEDDING_WIDTH).astype(np.float32))
    vectors = np.concatenate(parts) if parts else np.zeros((0, EMBEDDING_WIDTH), dtype=np.float32)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return [ids[i] for i in order], vectors[order]


def group(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Groups unit vectors (n, d) by a mean cosine above ``threshold``: (n,) group numbers from 0."""
    groups = np.arange(len(vectors))
    means, sizes = vectors, np.ones(len(vectors))
    for _ in range(_MOST_ROUNDS):
        merged = _merge(means, sizes, threshold)
        if merged.max(initial=-1) + 1 == len(sizes):
            break
        groups = merged[groups]
        sizes = np.bincount(groups).astype(np.float64)
        sums = np.zeros((len(sizes), vectors.shape[1]), dtype=np.float64)
        np.add.at(sums, groups, vectors)
        means = (sums / sizes[:, None]).astype(np.float32)
    return groups


def _merge(means: np.ndarray, sizes: np.ndarray, threshold: float) -> np.ndarray:
    """(g,) new group numbers of g groups with these means (g, d) and sizes (g,)."""
    if len(means) < 2:
        return np.zeros(len(means), dtype=np.int64)
    index = faiss.IndexFlatIP(means.shape[1])
    index.add(means)  # type: ignore[call-arg]
    similar, near = index.search(means, min(NEIGHBOURS + 1, len(means)))  # type: ignore[call-arg]
    source = np.repeat(np.arange(len(means)), near.shape[1])
    target, similar = near.ravel(), similar.ravel().astype(np.float64)
    is_edge = (source != target) & (similar > 0) & (target >= 0)
    pairs = np.sort(np.stack([source[is_edge], target[is_edge]], axis=1), axis=1)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    if not len(pairs):
        return np.arange(len(means))
    weights = similar[is_edge][first] * sizes[pairs[:, 0]] * sizes[pairs[:, 1]]
    igraph.set_random_number_generator(random.Random(0))
    partition = igraph.Graph(n=len(means), edges=pairs).community_leiden(
        objective_function="CPM", weights=weights, resolution=threshold, node_weights=sizes, n_iterations=-1
    )
    return np.unique(np.array(partition.membership), return_inverse=True)[1]


def folder_name(label: str) -> str:
    """The folder of a label: the label itself if it is a plain word, else a hash. ``cache`` is reserved in VariFace."""
    is_word = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", label) and label.lower() != "cache"
    return label if is_word and is_portable_name(label) else "person-" + _short(label)


def _short(text: str) -> str:
    return sha256_hex(text)[:10]
