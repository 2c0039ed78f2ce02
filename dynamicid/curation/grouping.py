"""Groups of unit vectors whose mean cosine is above a threshold.

This is the constant Potts model, whose resolution is the threshold, solved by Leiden (Traag et al. 2019,
arXiv 1810.08473) on each vector's nearest neighbours. The groups are then merged by the same method on their means
until nothing changes: the product of two means is the mean cosine of all pairs. This joins the photos of people with
more photos than a photo has neighbours.
"""

import random

import igraph
import numpy as np

from .neighbours import nearest_of_each

_MOST_ROUNDS = 20
_FIRST_ITERATIONS = 2
"""Of Leiden, where the groups are merged further in any case; -1 = until nothing changes."""


def group(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Groups unit vectors (n, d) by a mean cosine above ``threshold``: (n,) group numbers from 0."""
    return merge_groups(vectors.astype(np.float64), np.ones(len(vectors)), threshold)


def group_neighbours(
    vectors: np.ndarray, similar: np.ndarray, near: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups unit vectors whose neighbours are known.

    Args:
        vectors: (n, d).
        similar: (n, k) cosines with the neighbours.
        near: (n, k) their indices; -1 = none.
        threshold: As in ``group``.

    Returns:
        (n,) group numbers from 0; (g, d) float64 sums of the groups' vectors; (g,) their sizes.
    """
    first = _partition(np.ones(len(vectors)), *_edges(similar, near), threshold, _FIRST_ITERATIONS)
    sums, sizes = _add_up(vectors.astype(np.float64), first), np.bincount(first).astype(np.float64)
    merged = merge_groups(sums, sizes, threshold)
    return merged[first], _add_up(sums, merged), np.bincount(merged, weights=sizes)


def merge_groups(sums: np.ndarray, sizes: np.ndarray, threshold: float, pairs: np.ndarray | None = None) -> np.ndarray:
    """Merges groups until nothing changes.

    Args:
        sums: (g, d) float64 sums of the groups' unit vectors.
        sizes: (g,) float64 numbers of vectors.
        threshold: As in ``group``.
        pairs: (m, 2) groups to be compared, beside those whose means are nearest.

    Returns:
        (g,) new group numbers from 0.
    """
    groups = np.arange(len(sizes))
    for _ in range(_MOST_ROUNDS):
        if len(sizes) < 2:
            break
        means = (sums / sizes[:, None]).astype(np.float32)
        edges, similar = _edges(*nearest_of_each(means))
        if pairs is not None and len(pairs):
            also = np.einsum("ij,ij->i", means[pairs[:, 0]], means[pairs[:, 1]])
            edges, similar = _distinct(np.concatenate([edges, pairs]), np.concatenate([similar, also]))
        merged = _partition(sizes, edges, similar, threshold)
        if merged.max() + 1 == len(sizes):
            break
        groups = merged[groups]
        sums, sizes = _add_up(sums, merged), np.bincount(merged, weights=sizes)
        pairs = None if pairs is None else np.unique(merged[pairs], axis=0)
    return groups


def _edges(similar: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of neighbours (n, k): the distinct pairs (m, 2) and their cosines (m,)."""
    source = np.repeat(np.arange(len(near)), near.shape[1])
    return _distinct(np.stack([source, near.ravel()], axis=1), similar.ravel())


def _distinct(pairs: np.ndarray, similar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct pairs of two different indices whose cosine is above 0."""
    is_edge = (pairs[:, 0] != pairs[:, 1]) & (similar > 0) & (pairs >= 0).all(axis=1)
    pairs = np.sort(pairs[is_edge], axis=1)
    keys, first = np.unique(pairs[:, 0] * (pairs.max(initial=0) + 1) + pairs[:, 1], return_index=True)
    return pairs[first].reshape(len(keys), 2), similar[is_edge][first].astype(np.float64)


def _partition(
    sizes: np.ndarray, pairs: np.ndarray, similar: np.ndarray, threshold: float, iterations: int = -1
) -> np.ndarray:
    """(g,) new group numbers of g groups with these sizes, of which these pairs (m, 2) have these mean cosines (m,)."""
    if not len(pairs):
        return np.arange(len(sizes))
    igraph.set_random_number_generator(random.Random(0))
    partition = igraph.Graph(n=len(sizes), edges=pairs).community_leiden(
        objective_function="CPM", weights=similar * sizes[pairs[:, 0]] * sizes[pairs[:, 1]], resolution=threshold,
        node_weights=sizes, n_iterations=iterations,
    )  # fmt: skip
    return np.unique(np.array(partition.membership), return_inverse=True)[1]


def _add_up(sums: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(g, d) sums of the rows (n, d) of each group."""
    total = np.zeros((groups.max() + 1, sums.shape[1]))
    np.add.at(total, groups, sums)
    return total
