"""``--threshold auto``: the valley of the histogram of the similarities at which groups merge.

Photos near one another are merged by average linkage (UPGMA; Sokal and Michener 1958), whose heights are what the
threshold cuts: mean cosines between groups. Each merge counts as many photos as its smaller group has. Photos of one
person merge at high similarities, people that look alike at low ones. The threshold is the minimum between the two
(Prewitt and Mendelsohn 1966, "The analysis of cell images"; Glasbey 1993): the histogram is smoothed by the mean of
three bins until it has two maxima.
"""

import numpy as np

REGION_PHOTOS, REGIONS = 3000, 4
"""The histogram is that of several regions of so many photos; linkage is quadratic."""
BINS = 200
"""Of cosines -1..1."""
_DEEPEST_SHARE = 0.5
"""A minimum above this share of the lower maximum is no valley."""
_MOST_SMOOTHINGS = 2000


def merge_histogram(vectors: np.ndarray) -> np.ndarray:
    """(BINS,) photos by the similarity at which they merge, of unit vectors (n, d)."""
    from scipy.cluster.hierarchy import linkage

    if len(vectors) < 2:
        return np.zeros(BINS)
    distances = 1 - (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    tree = linkage(distances, "average")
    sizes = np.concatenate([np.ones(len(vectors)), tree[:, 3]])
    smaller = np.minimum(sizes[tree[:, 0].astype(int)], sizes[tree[:, 1].astype(int)])
    return np.histogram(1 - tree[:, 2], BINS, (-1, 1), weights=smaller)[0]


def regions_histogram(vectors: np.ndarray) -> np.ndarray:
    """``merge_histogram`` of all vectors (n, d), or of those near some of them, where there are many."""
    if len(vectors) <= REGION_PHOTOS:
        return merge_histogram(vectors)
    middles = np.random.default_rng(0).choice(len(vectors), REGIONS, replace=False)
    near = (np.argsort(-(vectors @ vectors[i]), kind="stable")[:REGION_PHOTOS] for i in middles)
    return np.sum([merge_histogram(vectors[rows]) for rows in near], axis=0)


def find_valley(histogram: np.ndarray) -> float | None:
    """The cosine of the minimum between the two maxima of a histogram (BINS,); None if there are no such two."""
    heights = histogram.astype(np.float64)
    for _ in range(_MOST_SMOOTHINGS):
        maxima = _maxima(heights)
        if len(maxima) <= 2:
            break
        heights = np.convolve(heights, np.full(3, 1 / 3), mode="same")
    if len(maxima) != 2:
        return None
    left, right = maxima
    between = heights[left : right + 1]
    if between.min() > _DEEPEST_SHARE * min(heights[left], heights[right]):
        return None
    lowest = left + np.flatnonzero(between <= between.min())
    return round(float(lowest[0] + lowest[-1] + 1) / BINS - 1, 3)


def _maxima(heights: np.ndarray) -> np.ndarray:
    """Indices of the local maxima; of a level one, its first bin."""
    steps = np.sign(np.diff(np.concatenate([[0.0], heights, [0.0]])))
    filled = steps.copy()
    for i in range(1, len(filled)):
        filled[i] = filled[i] or filled[i - 1]
    rising_then_falling = (filled[:-1] > 0) & (filled[1:] < 0)
    ends = np.flatnonzero(rising_then_falling)
    return np.array([end - int(np.argmax(steps[end::-1] != 0)) for end in ends], dtype=np.int64)
