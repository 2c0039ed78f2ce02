"""The stand-in detector of ``onnx_pack``: matched filters for ellipses of skin under dark hair, at 18 sizes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .onnx_graph import Graph, tensor

FACE_ASPECT = 0.76  # width / height of the boxes
STRIDES = (8, 16, 32)
# Face heights in pixels at detector size, per stride and anchor. Above about 330 px nothing fires: as with the real
# detector, a face that fills the picture is only found at a smaller detector size.
FACE_HEIGHTS = {
    8: ((20.0, 25.0, 31.0), (38.0, 46.0, 56.0)),
    16: ((62.0, 74.0, 88.0), (100.0, 118.0, 136.0)),
    32: ((150.0, 176.0, 204.0), (230.0, 260.0, 290.0)),
}
# Eyes, nose, corners of the mouth in units of the box, measured from its middle.
FIVE_POINTS = ((-0.22, -0.10), (0.22, -0.10), (0.0, 0.10), (-0.17, 0.27), (0.17, 0.27))


class _Skin(NamedTuple):
    """Soft limits of skin: |red - blue| and green as shares of the three colours' sum, and the brightest colour."""

    chroma_low: float = 0.0604
    chroma_high: float = 0.246
    chroma_slope: float = 228
    green_low: float = 0.304
    green_high: float = 0.335
    green_slope: float = 544
    darkest: float = 0.25


class _Filter(NamedTuple):
    """Weights of the face filter's parts against its centre, and the contrast that scores 0.5."""

    sides: float = 0.624
    below: float = 0.371
    hair: float = 0.161
    threshold: float = 0.579
    worst: float = 0.905


CLOSING = 7
SKIN = _Skin()
FILTER = _Filter()


def _skin_and_dark(graph: Graph, image: str) -> str:
    """Two maps (1, 2, H, W) in 0..1: how much a pixel looks like skin, and how dark it is."""
    colours = graph.unit_colours(image, 128.0)
    total = graph.add("Conv", colours, graph.constant(np.ones((1, 3, 1, 1))))
    shares = graph.add("Div", colours, graph.affine(total, 1.0, 1e-3))
    chroma = graph.add("Abs", graph.add("Sub", graph.channel(shares, 0), graph.channel(shares, 2)))
    green = graph.channel(shares, 1)
    brightest = graph.add("ReduceMax", colours, axes=[1], keepdims=1)
    skin = graph.product(
        graph.step(chroma, SKIN.chroma_slope, SKIN.chroma_low),
        graph.step(chroma, -SKIN.chroma_slope, SKIN.chroma_high),
        graph.step(green, SKIN.green_slope, SKIN.green_low),
        graph.step(green, -SKIN.green_slope, SKIN.green_high),
        graph.step(brightest, 30.0, SKIN.darkest),
    )
    # Closing (dilation, then erosion) fills eyes, lips and small shadows.
    around: dict[str, Any] = {"kernel_shape": [CLOSING, CLOSING], "pads": [CLOSING // 2] * 4}
    dilated = graph.add("MaxPool", skin, **around)
    closed = graph.add("Neg", graph.add("MaxPool", graph.add("Neg", dilated), **around))
    return graph.add("Concat", closed, graph.step(brightest, -30.0, 0.33), axis=1)


def _window(height: float, stride: int, part: str, half_cells: int) -> np.ndarray:
    """Kernel (cells, cells) over a part of a face of this height, supersampled; of sum 1, but for "window"."""
    fine = 8
    cells = 2 * half_cells + 1
    axis = ((np.arange(cells * fine) + 0.5) / fine - cells / 2) * stride / height
    y, x = np.meshgrid(axis, axis, indexing="ij")
    radius = np.sqrt((x / (FACE_ASPECT / 2)) ** 2 + (y / 0.5) ** 2)
    ring = (radius > 1.12) & (radius < 1.6)
    mask = {
        "centre": radius < 1.0,
        "left": ring & (x < -np.abs(y) * 0.6),
        "right": ring & (x > np.abs(y) * 0.6),
        "top": ring & (y < -np.abs(x) * 0.8),
        "bottom": ring & (y > np.abs(x) * 0.8),
        "cap": (radius > 0.9) & (radius < 1.45) & (y < -0.25),
        "window": radius < 1.2,
    }[part]
    kernel = mask.astype(np.float64).reshape(cells, fine, cells, fine).mean((1, 3))
    return kernel if part == "window" else kernel / kernel.sum()


def _anchor(graph: Graph, maps: str, stride: int, heights: Sequence[float]) -> tuple[str, str, str]:
    """Matched filters of one anchor: score (1, 1, h, w), box distances (1, 4, h, w), points (1, 10, h, w)."""
    half_cells = int(np.ceil(max(heights) * 0.82 / stride))
    cells = 2 * half_cells + 1
    offsets = np.arange(cells) - half_cells
    count = len(heights)
    parts = ("centre", "left", "right", "top", "bottom", "cap")
    filters = np.zeros((len(parts) * count, 2, cells, cells))
    moments = np.zeros((3 * count, 2, cells, cells))
    for index, height in enumerate(heights):
        for row, part in enumerate(parts):
            filters[row * count + index, int(part == "cap")] = _window(height, stride, part, half_cells)
        window = _window(height, stride, "window", half_cells)
        moments[index, 0] = window
        moments[count + index, 0] = window * offsets[None, :]
        moments[2 * count + index, 0] = window * offsets[:, None]
    pads = [half_cells] * 4
    seen = graph.add("Conv", maps, graph.constant(filters), pads=pads)
    centre, left, right, top, bottom, cap = graph.split(seen, len(parts))
    # Skin within, none on any side; below, a neck is forgiven; hair above (dark) helps.
    worst = graph.add("Max", left, right, top)
    mean = graph.affine(graph.add("Sum", left, right, top), 1 / 3, 0.0)
    surround = graph.add("Add", graph.affine(worst, FILTER.worst, 0.0), graph.affine(mean, 1 - FILTER.worst, 0.0))
    contrast = graph.add("Add", centre, graph.affine(surround, -FILTER.sides, 0.0))
    contrast = graph.add("Add", contrast, graph.affine(bottom, -FILTER.below, 0.0))
    contrast = graph.add("Add", contrast, graph.affine(cap, FILTER.hair, 0.0))
    best = graph.add("ReduceMax", contrast, axes=[1], keepdims=1)
    score = graph.step(best, 9.0, FILTER.threshold)
    share = graph.add("Softmax", graph.affine(contrast, 30.0, 0.0), axis=1)

    ones = graph.constant(np.ones((1, count, 1, 1)))
    moment_maps = graph.add("Conv", maps, graph.constant(moments), pads=pads)
    area, x_sum, y_sum = (
        graph.add("Conv", graph.add("Mul", part, share), ones) for part in graph.split(moment_maps, 3)
    )
    area = graph.affine(area, 1.0, 1e-3)
    x_middle = graph.affine(graph.add("Div", x_sum, area), 1.0, 0.5)
    y_middle = graph.affine(graph.add("Div", y_sum, area), 1.0, 0.5)
    # Height in cells: the geometric mean of the matched filter's and of the ellipse of the same area.
    log_heights = np.log(np.asarray(heights) / stride).reshape(1, count, 1, 1)
    by_filter = graph.add("Conv", share, graph.constant(log_heights))
    by_area = graph.affine(graph.add("Log", area), 0.5, 0.5 * np.log(4 / (np.pi * FACE_ASPECT)))
    height = graph.add("Exp", graph.affine(graph.add("Add", by_filter, by_area), 0.5, 0.0))

    basis = graph.add("Concat", x_middle, y_middle, height, axis=1)
    half_width = FACE_ASPECT / 2
    distances = [[-1, 0, half_width], [0, -1, 0.5], [1, 0, half_width], [0, 1, 0.5]]
    points = [row for x, y in FIVE_POINTS for row in ([1, 0, x * FACE_ASPECT], [0, 1, y])]
    as_kernel = [np.asarray(rows).reshape(-1, 3, 1, 1) for rows in (distances, points)]
    box, five_points = (graph.add("Conv", basis, graph.constant(kernel)) for kernel in as_kernel)
    return score, box, five_points


def write_detector(path: Path) -> None:
    """Writes det_10g.onnx."""
    graph = Graph()
    maps = _skin_and_dark(graph, "input.1")
    names: list[list[str]] = [[], [], []]
    anchors: dict[tuple[int, int], tuple[str, str, str]] = {}
    for stride in STRIDES:
        pooled = graph.add("AveragePool", maps, kernel_shape=[stride, stride], strides=[stride, stride])
        for index, heights in enumerate(FACE_HEIGHTS[stride]):
            anchors[stride, index] = _anchor(graph, pooled, stride, heights)
    for stride in STRIDES:
        mine = [anchor for key, anchor in anchors.items() if key[0] == stride]
        for kind, width in enumerate((1, 4, 10)):
            both = graph.add("Concat", *(anchor[kind] for anchor in mine), axis=1)
            rows = graph.add("Transpose", both, perm=[0, 2, 3, 1])
            name = f"{('score', 'bbox', 'kps')[kind]}_{stride}"
            names[kind].append(graph.add("Reshape", rows, graph.constant([-1, width], np.int64), output=name))
    outputs = [
        tensor(name, [f"candidates_{name}", width])
        for kind, width in zip(names, (1, 4, 10), strict=True)
        for name in kind
    ]
    graph.save(path, [tensor("input.1", [1, 3, "height", "width"])], outputs)
