"""Small ONNX files in the interface of InsightFace's buffalo_l, for tests and demos on machines without the real pack.

The files carry buffalo_l's names, inputs and outputs, so InsightFace routes and runs them as it does the real ones; the
networks are closed-form. They tell people apart by colour and coarse shape, nothing more, and must never be used to
judge pictures.

Colour order: every network sees what InsightFace hands it. The detector's skin measure is symmetric in red and blue,
so RGB and BGR arrays give the same boxes; the embedding is not symmetric, so the two orders give different ones.
"""

from pathlib import Path

import numpy as np

from dynamicid.faces import landmark_layout as layout
from dynamicid.faces.head_model import AVERAGE_FACE

from .onnx_detector import FACE_ASPECT, write_detector
from .onnx_graph import Graph, tensor
from .painted_faces import draw_test_faces as draw_test_faces


def write_onnx_pack(folder: Path) -> None:
    """Writes det_10g, w600k_r50, 2d106det, 1k3d68 and genderage into `folder` (made if missing; 0.6 MB together).

    Needs insightface for the mean 3-D face of its pose estimate. The same bytes at every call.

    Args:
        folder: Where the files go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_detector(folder / "det_10g.onnx")
    _write_recognition(folder / "w600k_r50.onnx")
    _write_landmarks_2d(folder / "2d106det.onnx")
    _write_landmarks_3d(folder / "1k3d68.onnx")
    _write_genderage(folder / "genderage.onnx")


def _crop_features(graph: Graph, image: str) -> tuple[str, int]:
    """Mean colours of nine windows of the 112 x 112 crop, wide enough that a shift by a few pixels changes little, and
    its mean edge strengths, (1, features)."""
    colours = graph.unit_colours(image, 127.5)
    grey = graph.add("Conv", colours, graph.constant(np.full((1, 3, 1, 1), 1 / 3)))
    gradients = np.zeros((2, 1, 3, 3))
    gradients[0, 0, 1] = gradients[1, 0, :, 1] = (-1, 0, 1)
    edges = graph.add("Abs", graph.add("Conv", grey, graph.constant(gradients), pads=[1, 1, 1, 1]))
    windows = graph.add("AveragePool", colours, kernel_shape=[56, 56], strides=[28, 28])
    means = graph.add("GlobalAveragePool", edges)
    return graph.add("Concat", *(graph.add("Flatten", part, axis=1) for part in (windows, means)), axis=1), 3 * 9 + 2


def _write_recognition(path: Path) -> None:
    """Random Fourier features: the cosine of two embeddings is exp(-distance^2 / 2 width^2) of the crops' features."""
    graph = Graph()
    features, count = _crop_features(graph, "input.1")
    rng = np.random.Generator(np.random.PCG64(600))
    width = 0.36
    weights = rng.standard_normal((count, 512)) / width
    phases = graph.add("Gemm", features, graph.constant(weights), graph.constant(rng.uniform(0, 2 * np.pi, 512)))
    graph.add("Cos", phases, output="683")
    graph.save(path, [tensor("input.1", [None, 3, 112, 112])], [tensor("683", [1, 512])])


def _template_106() -> np.ndarray:
    """(106, 2) the pack's average face, in units of the box, measured from its middle, over the painted features."""
    return (AVERAGE_FACE[:, :2] * (0.81, 0.669) + (0.0, 0.113)) * (FACE_ASPECT, 1.0)


def _half_difference(graph: Graph, grey: str, first: np.ndarray, second: np.ndarray) -> str:
    """(mean over first - mean over second) / mean over both, (1, 1); the masks are (192, 192)."""
    kernels = np.stack([first / first.sum(), second / second.sum()])[:, None]
    means = graph.add("Flatten", graph.add("Conv", grey, graph.constant(kernels)), axis=1)
    difference = graph.add("MatMul", means, graph.constant([[1.0], [-1.0]]))
    total = graph.affine(graph.add("MatMul", means, graph.constant([[0.5], [0.5]])), 1.0, 0.02)
    return graph.add("Div", difference, total)


def _grey_192(graph: Graph) -> str:
    """Brightness in 0..1, pooled to a 48 x 48 grid."""
    colours = graph.unit_colours("data", 128.0)
    grey = graph.add("Conv", colours, graph.constant(np.full((1, 3, 1, 1), 1 / 3)))
    return graph.add("AveragePool", grey, kernel_shape=[4, 4], strides=[4, 4])


def _crop_axes() -> tuple[np.ndarray, np.ndarray]:
    """y, x of the 48 x 48 grid over InsightFace's landmark crop, in units of the box height (the crop is 1.5 boxes)."""
    axis = ((np.arange(48) + 0.5) / 48 - 0.5) * 1.5
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def _write_landmarks_2d(path: Path) -> None:
    """The template; a mouth darker than its surroundings opens, and light from one side shifts all points a little."""
    graph = Graph()
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
    opened[list(layout.UPPER_LIP), 1] = -0.02
    opened[list(layout.LOWER_LIP), 1] = 0.06
    shifted = np.zeros((106, 2))
    shifted[:, 0] = 0.02
    points = graph.add("Add", _spread(graph, opening, opened * unit), _spread(graph, light, shifted * unit))
    graph.add("Add", points, graph.constant((template * unit).reshape(1, 212)), output="fc1")
    graph.save(path, [tensor("data", [None, 3, 192, 192])], [tensor("fc1", [1, 212])])


def _spread(graph: Graph, amount: str, directions: np.ndarray) -> str:
    """(1, 1) x points -> (1, coordinates)"""
    return graph.add("MatMul", amount, graph.constant(directions.reshape(1, -1)))


def _write_landmarks_3d(path: Path) -> None:
    """InsightFace's mean face turned by angles read off the light: yaw from left against right, pitch from above
    against below, so that its pose estimate gives those angles back (at most 60 and 30 degrees)."""
    from insightface.data import get_object

    mean_face = np.asarray(get_object("meanshape_68.pkl"), dtype=np.float64)
    mean_face = mean_face - mean_face.mean(0)
    mean_face *= 1.0 / np.ptp(mean_face[:, 1])
    graph = Graph()
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
    graph.save(path, [tensor("data", [None, 3, 192, 192])], [tensor("fc1", [1, 3309])])


def _write_genderage(path: Path) -> None:
    graph = Graph()
    colours = graph.unit_colours("data", 128.0)
    means = graph.add("Flatten", graph.add("GlobalAveragePool", colours), axis=1)
    weights = [[1.0, 0.0, 0.2], [0.0, 1.0, 0.2], [0.0, 0.0, 0.2]]
    graph.add("MatMul", means, graph.constant(weights), output="fc1")
    graph.save(path, [tensor("data", [None, 3, 96, 96])], [tensor("fc1", [1, 3])])
