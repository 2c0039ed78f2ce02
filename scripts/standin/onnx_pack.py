"""Small ONNX files in the interface of InsightFace's buffalo_l, for tests and demos on machines without the real pack.

The files carry buffalo_l's names, inputs and outputs, so InsightFace routes and runs them as it does the real ones; the
networks are closed-form. They tell people apart by colour and coarse shape, nothing more, and must never be used to
judge pictures.

Colour order: every network sees what InsightFace hands it. The detector's skin measure is symmetric in red and blue,
so RGB and BGR arrays give the same boxes; the embedding is not symmetric, so the two orders give different ones.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

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
DEFAULT_TONES = ((240, 196, 172), (150, 104, 82), (214, 162, 126), (112, 79, 61), (250, 216, 196), (184, 131, 105))
HAIR_TONES = ((40, 28, 22), (90, 20, 30), (20, 60, 30), (170, 170, 176), (204, 150, 50), (28, 32, 84))


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


class _Graph:
    """Collects nodes and constants; each call adds one node and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: ArrayLike, dtype: type = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, operation: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        # InsightFace reads "Sub"/"Mul" at the start of a node's name as "normalises its own input"; hence the prefix.
        name = f"node_{len(self.nodes)}_{operation.lower()}"
        output = output or f"{name}_out"
        self.nodes.append(helper.make_node(operation, list(inputs), [output], name=name, **attributes))
        return output

    def affine(self, x: str, scale: float, offset: float) -> str:
        """scale * x + offset"""
        return self.add("Add", self.add("Mul", x, self.constant(scale)), self.constant(offset))

    def step(self, x: str, slope: float, threshold: float) -> str:
        """Soft step: 0 below the threshold, 1 above it (for a negative slope the other way round)."""
        return self.add("Sigmoid", self.affine(x, slope, -slope * threshold))

    def channel(self, x: str, index: int) -> str:
        """(1, C, H, W) -> (1, 1, H, W)"""
        return self.add("Gather", x, self.constant([index], np.int64), axis=1)

    def split(self, x: str, count: int) -> list[str]:
        """(1, count * n, H, W) -> `count` of (1, n, H, W)"""
        name = f"node_{len(self.nodes)}_split"
        outputs = [f"{name}_out_{index}" for index in range(count)]
        self.nodes.append(helper.make_node("Split", [x], outputs, name=name, axis=1))
        return outputs

    def product(self, first: str, *others: str) -> str:
        for other in others:
            first = self.add("Mul", first, other)
        return first

    def save(self, path: Path, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> None:
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, self.constants)
        # Old enough for every onnxruntime that insightface 0.7.3 users have.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString(deterministic=True))


def write_onnx_pack(folder: Path) -> None:
    """Writes det_10g, w600k_r50, 2d106det, 1k3d68 and genderage into `folder` (made if missing; 0.6 MB together).

    Needs insightface for the mean 3-D face of its pose estimate. The same bytes at every call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_detector(folder / "det_10g.onnx")
    _write_recognition(folder / "w600k_r50.onnx")
    _write_landmarks_2d(folder / "2d106det.onnx")
    _write_landmarks_3d(folder / "1k3d68.onnx")
    _write_genderage(folder / "genderage.onnx")


def _tensor(name: str, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _unit_colours(graph: _Graph, image: str, std: float) -> str:
    """InsightFace's (x - 127.5) / std -> 0..1"""
    return graph.affine(image, std / 255.0, 0.5)


def _skin_and_dark(graph: _Graph, image: str) -> str:
    """Two maps (1, 2, H, W) in 0..1: how much a pixel looks like skin, and how dark it is."""
    colours = _unit_colours(graph, image, 128.0)
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


def _anchor(graph: _Graph, maps: str, stride: int, heights: Sequence[float]) -> tuple[str, str, str]:
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


def _write_detector(path: Path) -> None:
    graph = _Graph()
    maps = _skin_and_dark(graph, "input.1")
    names: list[list[str]] = [[], [], []]
    for stride in STRIDES:
        pooled = graph.add("AveragePool", maps, kernel_shape=[stride, stride], strides=[stride, stride])
        anchors = [_anchor(graph, pooled, stride, heights) for heights in FACE_HEIGHTS[stride]]
        for kind, width in enumerate((1, 4, 10)):
            both = graph.add("Concat", *(anchor[kind] for anchor in anchors), axis=1)
            rows = graph.add("Transpose", both, perm=[0, 2, 3, 1])
            name = f"{('score', 'bbox', 'kps')[kind]}_{stride}"
            names[kind].append(graph.add("Reshape", rows, graph.constant([-1, width], np.int64), output=name))
    outputs = [
        _tensor(name, [f"candidates_{name}", width])
        for kind, width in zip(names, (1, 4, 10), strict=True)
        for name in kind
    ]
    graph.save(path, [_tensor("input.1", [1, 3, "height", "width"])], outputs)


def _crop_features(graph: _Graph, image: str) -> tuple[str, int]:
    """Mean colours of nine windows of the 112 x 112 crop, wide enough that a shift by a few pixels changes little, and
    its mean edge strengths, (1, features)."""
    colours = _unit_colours(graph, image, 127.5)
    grey = graph.add("Conv", colours, graph.constant(np.full((1, 3, 1, 1), 1 / 3)))
    gradients = np.zeros((2, 1, 3, 3))
    gradients[0, 0, 1] = gradients[1, 0, :, 1] = (-1, 0, 1)
    edges = graph.add("Abs", graph.add("Conv", grey, graph.constant(gradients), pads=[1, 1, 1, 1]))
    windows = graph.add("AveragePool", colours, kernel_shape=[56, 56], strides=[28, 28])
    means = graph.add("GlobalAveragePool", edges)
    return graph.add("Concat", *(graph.add("Flatten", part, axis=1) for part in (windows, means)), axis=1), 3 * 9 + 2


def _write_recognition(path: Path) -> None:
    """Random Fourier features: the cosine of two embeddings is exp(-distance^2 / 2 width^2) of the crops' features."""
    graph = _Graph()
    features, count = _crop_features(graph, "input.1")
    rng = np.random.Generator(np.random.PCG64(600))
    width = 0.36
    weights = rng.standard_normal((count, 512)) / width
    phases = graph.add("Gemm", features, graph.constant(weights), graph.constant(rng.uniform(0, 2 * np.pi, 512)))
    graph.add("Cos", phases, output="683")
    graph.save(path, [_tensor("input.1", [None, 3, 112, 112])], [_tensor("683", [1, 512])])


def _template_106() -> np.ndarray:
    """A plain face in InsightFace's order of 106 points (contour, left eye, left brow, mouth, nose, right eye, right
    brow), in units of the box, measured from its middle."""

    def ring(x: float, y: float, width: float, height: float, count: int) -> list[tuple[float, float]]:
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
        return [(x + width * np.cos(a), y + height * np.sin(a)) for a in angles]

    def line(start: tuple[float, float], end: tuple[float, float], count: int) -> list[tuple[float, float]]:
        return [tuple(np.asarray(start) + (np.asarray(end) - start) * t) for t in np.linspace(0, 1, count)]

    contour = [(-0.48 * np.cos(a), -0.08 + 0.56 * np.sin(a)) for a in np.linspace(0, np.pi, 33)]
    mouth = ring(0, 0.27, 0.18, 0.07, 12) + ring(0, 0.27, 0.13, 0.03, 8)
    nose = line((0, -0.1), (0, 0.1), 4) + ring(0, 0.1, 0.1, 0.05, 11)
    brows = [line((side * 0.36, -0.2), (side * 0.08, -0.2), 9) for side in (-1, 1)]
    eyes = [ring(side * 0.22, -0.1, 0.09, 0.035, 10) for side in (-1, 1)]
    points = np.asarray(contour + eyes[0] + brows[0] + mouth + nose + eyes[1] + brows[1])
    return points * (FACE_ASPECT, 1.0)


MOUTH_106 = slice(52, 72)


def _half_difference(graph: _Graph, grey: str, first: np.ndarray, second: np.ndarray) -> str:
    """(mean over first - mean over second) / mean over both, (1, 1); the masks are (192, 192)."""
    kernels = np.stack([first / first.sum(), second / second.sum()])[:, None]
    means = graph.add("Flatten", graph.add("Conv", grey, graph.constant(kernels)), axis=1)
    difference = graph.add("MatMul", means, graph.constant([[1.0], [-1.0]]))
    total = graph.affine(graph.add("MatMul", means, graph.constant([[0.5], [0.5]])), 1.0, 0.02)
    return graph.add("Div", difference, total)


def _grey_192(graph: _Graph) -> str:
    """Brightness in 0..1, pooled to a 48 x 48 grid."""
    colours = _unit_colours(graph, "data", 128.0)
    grey = graph.add("Conv", colours, graph.constant(np.full((1, 3, 1, 1), 1 / 3)))
    return graph.add("AveragePool", grey, kernel_shape=[4, 4], strides=[4, 4])


def _crop_axes() -> tuple[np.ndarray, np.ndarray]:
    """y, x of the 48 x 48 grid over InsightFace's landmark crop, in units of the box height (the crop is 1.5 boxes)."""
    axis = ((np.arange(48) + 0.5) / 48 - 0.5) * 1.5
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def _write_landmarks_2d(path: Path) -> None:
    """The template; a mouth darker than its surroundings opens, and light from one side shifts all points a little."""
    graph = _Graph()
    grey = _grey_192(graph)
    y, x = _crop_axes()
    inside = (np.abs(x) < 0.3) & (np.abs(y) < 0.42)
    mouth = (np.abs(x) < 0.14) & (np.abs(y - 0.27) < 0.07)
    cheeks = (np.abs(y - 0.08) < 0.1) & inside
    opening = graph.add("Tanh", _half_difference(graph, grey, cheeks * 1.0, mouth * 1.0))
    light = graph.add("Tanh", _half_difference(graph, grey, inside * (x < 0), inside * (x > 0)))
    # One box height is 192 / 1.5 pixels of the crop, and the network's unit is 96 pixels.
    unit = 128 / 96
    template = _template_106()
    opened = np.zeros((106, 2))
    opened[MOUTH_106, 1] = 0.5 * (template[MOUTH_106, 1] - 0.27)
    shifted = np.zeros((106, 2))
    shifted[:, 0] = 0.02
    points = graph.add("Add", _spread(graph, opening, opened * unit), _spread(graph, light, shifted * unit))
    graph.add("Add", points, graph.constant((template * unit).reshape(1, 212)), output="fc1")
    graph.save(path, [_tensor("data", [None, 3, 192, 192])], [_tensor("fc1", [1, 212])])


def _spread(graph: _Graph, amount: str, directions: np.ndarray) -> str:
    """(1, 1) x points -> (1, coordinates)"""
    return graph.add("MatMul", amount, graph.constant(directions.reshape(1, -1)))


def _write_landmarks_3d(path: Path) -> None:
    """InsightFace's mean face turned by angles read off the light: yaw from left against right, pitch from above
    against below, so that its pose estimate gives those angles back (at most 60 and 30 degrees)."""
    from insightface.data import get_object

    mean_face = np.asarray(get_object("meanshape_68.pkl"), dtype=np.float64)
    mean_face = mean_face - mean_face.mean(0)
    mean_face *= 1.0 / np.ptp(mean_face[:, 1])
    graph = _Graph()
    grey = _grey_192(graph)
    y, x = _crop_axes()
    inside = (np.abs(x) < 0.3) & (np.abs(y) < 0.42)
    sides = _half_difference(graph, grey, inside * (x < 0), inside * (x > 0))
    heights = _half_difference(graph, grey, inside * (y < 0), inside * (y > 0))
    yaw = graph.affine(graph.add("Tanh", graph.affine(sides, 1.2, 0.0)), np.deg2rad(60), 0.0)
    pitch = graph.affine(graph.add("Tanh", graph.affine(heights, 0.8, 0.0)), np.deg2rad(30), 0.0)
    # R = Rx(pitch) @ Ry(yaw), applied to row vectors: p' = p @ R.T, written out term by term.
    cos_yaw, sin_yaw = graph.add("Cos", yaw), graph.add("Sin", yaw)
    cos_pitch, sin_pitch = graph.add("Cos", pitch), graph.add("Sin", pitch)
    terms = {
        cos_yaw: [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        sin_yaw: [[0, 0, 1], [0, 0, 0], [0, 0, 0]],
        cos_pitch: [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        graph.product(sin_pitch, sin_yaw): [[0, 0, 0], [1, 0, 0], [0, 0, 0]],
        graph.product(sin_pitch, cos_yaw): [[0, 0, 0], [0, 0, -1], [0, 0, 0]],
        sin_pitch: [[0, 0, 0], [0, 0, 0], [0, 1, 0]],
        graph.product(cos_pitch, sin_yaw): [[0, 0, 0], [0, 0, 0], [-1, 0, 0]],
        graph.product(cos_pitch, cos_yaw): [[0, 0, 0], [0, 0, 0], [0, 0, 1]],
    }
    # The 68 points are the last of 1103.
    total = graph.constant(np.zeros((1, 3309)))
    for amount, part in terms.items():
        directions = np.zeros((1103, 3))
        directions[-68:] = mean_face @ np.asarray(part, dtype=np.float64).T
        total = graph.add("Add", total, _spread(graph, amount, directions))
    graph.add("Identity", total, output="fc1")
    graph.save(path, [_tensor("data", [None, 3, 192, 192])], [_tensor("fc1", [1, 3309])])


def _write_genderage(path: Path) -> None:
    graph = _Graph()
    colours = _unit_colours(graph, "data", 128.0)
    means = graph.add("Flatten", graph.add("GlobalAveragePool", colours), axis=1)
    weights = [[1.0, 0.0, 0.2], [0.0, 1.0, 0.2], [0.0, 0.0, 0.2]]
    graph.add("MatMul", means, graph.constant(weights), output="fc1")
    graph.save(path, [_tensor("data", [None, 3, 96, 96])], [_tensor("fc1", [1, 3])])


Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


def draw_test_faces(
    size: tuple[int, int],
    boxes: Sequence[Box],
    tones: Sequence[Colour] | None = None,
    shades: Sequence[float] | None = None,
    mouths: Sequence[float] | None = None,
) -> np.ndarray:
    """Plain painted faces that the stand-in detector finds.

    Args:
        size: (height, width) of the picture.
        boxes: x0, y0, x1, y1 of each face in pixels; best 0.76 times as wide as high, and 20 to 300 pixels high
            where the picture's longer side is 512.
        tones: RGB of each face's skin; DEFAULT_TONES in turn where None. Hair follows HAIR_TONES in turn.
        shades: Share of light taken from the right half of each face, 0 (default) to 0.5; from about 0.3 the
            stand-in's yaw makes it a side view. Negative shades the left half.
        mouths: Height of each mouth in box heights, 0.1 (default, closed) to 0.3 (wide open).

    Returns:
        (height, width, 3) uint8 RGB.
    """
    height, width = size
    image = Image.new("RGB", (width, height), (96, 112, 108))
    for index, box in enumerate(boxes):
        tone = (tones or DEFAULT_TONES)[index % len(tones or DEFAULT_TONES)]
        mouth = 0.1 if mouths is None else mouths[index % len(mouths)]
        _paint_face(ImageDraw.Draw(image), box, tone, HAIR_TONES[index % len(HAIR_TONES)], mouth)
    pixels = np.asarray(image).copy()
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        shade = 0.0 if shades is None else shades[index % len(shades)]
        left, right = ((x0 + x1) / 2, x1) if shade >= 0 else (x0, (x0 + x1) / 2)
        half = pixels[max(0, round(y0)) : max(0, round(y1)), max(0, round(left)) : max(0, round(right))]
        half[:] = half * (1 - abs(shade))
    return pixels


def _paint_face(draw: ImageDraw.ImageDraw, box: Box, skin: Colour, hair: Colour, mouth: float) -> None:
    x0, y0, x1, y1 = box
    # Middle x, y and half sizes in units of the box, colour.
    ellipses = [(0, -0.12, 0.58, 0.5, hair), (0, 0, 0.5, 0.5, skin), (0, 0.27, 0.17, mouth / 2, (150, 50, 60))]
    for side in (-1, 1):
        ellipses.append((side * 0.22, -0.1, 0.09, 0.04, (250, 250, 250)))
        ellipses.append((side * 0.22, -0.1, 0.04, 0.035, (30, 40, 50)))
    for x, y, half_width, half_height, colour in ellipses:
        middle_x, middle_y = (x0 + x1) / 2 + x * (x1 - x0), (y0 + y1) / 2 + y * (y1 - y0)
        half_width, half_height = half_width * (x1 - x0), half_height * (y1 - y0)
        corners = (middle_x - half_width, middle_y - half_height, middle_x + half_width, middle_y + half_height)
        draw.ellipse(corners, fill=colour)
