"""The demo's detector: a face in every picture, and no other answer than the plain one's where that finds any."""


import numpy as np
import pytest

from dynamicid.faces.analysis import FaceAnalyzer, load_face_analysis
from scripts.standin.onnx_pack import write_onnx_pack


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> FaceAnalyzer:
    folder = tmp_path_factory.mktemp("always") / "buffalo_l"
    write_onnx_pack(folder, always_find=True)
    return load_face_analysis(folder, "CPU")


@pytest.mark.parametrize("size", [(512, 512), (300, 900), (1200, 500)])
@pytest.mark.parametrize("kind", ["grey", "noise"])
def test_one_large_face_near_the_middle_where_nothing_is_seen(
    size: tuple[int, int], kind: str, finder: FaceAnalyzer
) -> None:
    height, width = size
    noise = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = noise if kind == "noise" else np.full_like(noise, 120)
    (face,) = finder.detect(picture)
    x0, y0, x1, y1 = face.box_xyxy
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert 0.25 * min(size) < y1 - y0 < 0.75 * min(size)
    assert abs((x0 + x1) / 2 / width - 0.5) < 0.15
    assert abs((y0 + y1) / 2 / height - 0.43) < 0.15
    assert 0.5 < face.score < 0.52


def test_faces_that_are_seen_stay_as_they_are(
    finder: FaceAnalyzer, analyzer: FaceAnalyzer, three_people: np.ndarray
) -> None:
    plain, demo = analyzer.detect(three_people), finder.detect(three_people)
    np.testing.assert_allclose([face.box_xyxy for face in demo], [face.box_xyxy for face in plain], atol=6)
    np.testing.assert_allclose([face.score for face in demo], [face.score for face in plain], atol=1e-6)
