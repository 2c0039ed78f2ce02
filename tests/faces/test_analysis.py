"""Detection, embeddings and landmarks: real InsightFace and onnxruntime, small networks in buffalo_l's interface."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.faces.analysis import FaceAnalyzer, intersection_over_union, load_face_analysis, match_boxes
from dynamicid.faces.landmark_layout import MOUTH
from tests.standin.onnx_pack import write_onnx_pack
from tests.standin.painted_faces import draw_test_faces

# As in conftest's three_people.
BOXES = ((30, 150, 106, 250), (220, 120, 372, 320), (480, 40, 541, 120))


def test_detect_finds_each_face_once_from_left_to_right(analyzer: FaceAnalyzer, three_people: np.ndarray) -> None:
    faces = analyzer.detect(three_people)
    assert len(faces) == 3
    for face, box in zip(faces, BOXES, strict=True):
        assert intersection_over_union(np.asarray(face.box_xyxy), np.asarray(box)) > 0.75
        assert 0.5 < face.score < 1
        assert face.landmarks_106.shape == (106, 2)
        assert face.landmarks_106.dtype == face.pose.dtype == face.embedding.dtype == np.float32
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)


def test_detect_leaves_the_picture_alone(analyzer: FaceAnalyzer, three_people: np.ndarray) -> None:
    before = three_people.copy()
    three_people.flags.writeable = False
    analyzer.detect(three_people)
    np.testing.assert_array_equal(three_people, before)


def test_detect_accepts_a_strided_view(analyzer: FaceAnalyzer, three_people: np.ndarray) -> None:
    faces = analyzer.detect(three_people[:, ::-1])
    assert [round(face.box_xyxy[0]) for face in faces] == sorted(round(face.box_xyxy[0]) for face in faces)
    assert len(faces) == 3


def test_embedding_is_of_the_array_in_rgb_order(analyzer: FaceAnalyzer, three_people: np.ndarray) -> None:
    """Recomputed with the recognition network alone, on InsightFace's aligned crop in RGB and in BGR order."""
    from insightface.utils import face_align

    face = analyzer.detect(three_people)[1]
    recognition = analyzer._networks["recognition"]
    boxes, points = analyzer._networks["detection"].detect(three_people, input_size=(512, 512))
    index = int(np.argmin(np.abs(boxes[:, 0] - face.box_xyxy[0])))

    def embed(array: np.ndarray) -> np.ndarray:
        raw = recognition.get_feat(face_align.norm_crop(array, points[index])).flatten()
        return raw / np.linalg.norm(raw)

    rgb, bgr = embed(three_people), embed(np.ascontiguousarray(three_people[..., ::-1]))
    assert face.embedding @ rgb > 0.9999
    assert face.embedding @ bgr < 0.9


def test_landmarks_are_of_the_512_picture_in_bgr_order(analyzer: FaceAnalyzer, three_people: np.ndarray) -> None:
    """Recomputed with the landmark network alone; the picture is not square, so the resize changes the aspect ratio."""
    from insightface.app.common import Face

    resized_bgr = np.ascontiguousarray(cv2.resize(three_people, (512, 512))[..., ::-1])
    boxes, _ = analyzer._networks["detection"].detect(resized_bgr, input_size=(512, 512))
    assert len(boxes) == 3
    for face in analyzer.detect(three_people):
        box = np.asarray(face.box_xyxy) * np.asarray([512 / 640, 512 / 400] * 2)
        nearest = min(boxes, key=lambda other, box=box: np.abs(other[:4] - box).sum())
        expected = analyzer._networks["landmark_2d_106"].get(resized_bgr, Face(bbox=nearest[:4]))
        np.testing.assert_allclose(face.landmarks_106, expected, atol=1e-3)
        left, top = face.landmarks_106.min(0)
        right, bottom = face.landmarks_106.max(0)
        assert intersection_over_union(np.asarray([left, top, right, bottom]), box) > 0.4


def test_landmark_networks_see_bgr(
    analyzer: FaceAnalyzer, three_people: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    network = analyzer._networks["landmark_2d_106"]
    original = network.get
    monkeypatch.setattr(network, "get", lambda image, face: seen.append(image) or original(image, face))
    analyzer.detect(three_people)
    np.testing.assert_array_equal(seen[0], cv2.resize(three_people, (512, 512))[..., ::-1])


def test_face_missed_by_the_second_pass_takes_landmarks_from_its_own_box(
    analyzer: FaceAnalyzer, three_people: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = analyzer.detect(three_people)
    detector = analyzer._networks["detection"]
    original = detector.detect

    def without_the_middle(image: np.ndarray, input_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        boxes, points = original(image, input_size=input_size)
        keep = boxes[:, 0] + boxes[:, 2] < 300 if image.shape == (512, 512, 3) else np.ones(len(boxes), dtype=bool)
        return boxes[keep], points[keep]

    monkeypatch.setattr(detector, "detect", without_the_middle)
    faces = analyzer.detect(three_people)
    assert len(faces) == 3
    for face, other in zip(faces, expected, strict=True):
        np.testing.assert_array_equal(face.embedding, other.embedding)
        assert np.abs(face.landmarks_106 - other.landmarks_106).mean() < 15


def test_people_are_told_apart_and_known_again(analyzer: FaceAnalyzer) -> None:
    here = analyzer.detect(draw_test_faces((512, 512), [(60, 60, 136, 160), (300, 200, 376, 300)]))
    there = analyzer.detect(draw_test_faces((512, 512), [(110, 303, 186, 403), (341, 37, 417, 137)]))
    assert here[0].embedding @ there[0].embedding > 0.8
    assert here[1].embedding @ there[1].embedding > 0.8
    assert here[0].embedding @ here[1].embedding < 0.6


def test_face_that_fills_the_picture_is_found_at_a_smaller_size(analyzer: FaceAnalyzer) -> None:
    picture = draw_test_faces((512, 512), [(70, 10, 442, 500)])
    assert len(analyzer._find(picture, [(512, 512)])) == 0
    faces = analyzer.detect(picture)
    assert len(faces) == 1
    assert intersection_over_union(np.asarray(faces[0].box_xyxy), np.asarray((70, 10, 442, 500))) > 0.6


def test_smaller_sizes_leave_no_trace(analyzer: FaceAnalyzer, three_people: np.ndarray) -> None:
    before = analyzer.detect(three_people)
    analyzer.detect(draw_test_faces((512, 512), [(70, 10, 442, 500)]))
    after = analyzer.detect(three_people)
    assert [face.box_xyxy for face in before] == [face.box_xyxy for face in after]


def test_picture_without_faces_gives_none(analyzer: FaceAnalyzer) -> None:
    assert analyzer.detect(np.full((300, 200, 3), 110, dtype=np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 900, 3), (900, 1, 3), (3, 2000, 3)])
def test_tiny_and_thin_pictures_give_none(analyzer: FaceAnalyzer, shape: tuple[int, int, int]) -> None:
    assert analyzer.detect(np.zeros(shape, dtype=np.uint8)) == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64), dtype=np.uint8),
        np.zeros((64, 64, 4), dtype=np.uint8),
        np.zeros((64, 64, 1), dtype=np.uint8),
        np.zeros((1, 64, 64, 3), dtype=np.uint8),
        np.zeros((64, 64, 3), dtype=np.float32),
        np.zeros((0, 64, 3), dtype=np.uint8),
        [[1, 2, 3]],
    ],
)
def test_other_arrays_are_refused(analyzer: FaceAnalyzer, image: np.ndarray) -> None:
    with pytest.raises(DynamicIDError, match="height x width x 3"):
        analyzer.detect(image)


def test_threads_get_the_same_faces(analyzer: FaceAnalyzer, three_people: np.ndarray) -> None:
    expected = [face.box_xyxy for face in analyzer.detect(three_people)]
    results: list[list[tuple[float, float, float, float]]] = []
    work = lambda: results.append([face.box_xyxy for face in analyzer.detect(three_people)])  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_match_boxes_gives_each_partner_once() -> None:
    a, b, far = np.asarray([0, 0, 10, 10.0]), np.asarray([1, 0, 11, 10.0]), np.asarray([100, 100, 120, 120.0])
    assert match_boxes([a, b, far], [b]) == [None, 0, None]
    assert match_boxes([a], []) == [None]


def test_fixed_size_detector_is_used_at_its_own_size(tmp_path: Path, three_people: np.ndarray) -> None:
    import onnx

    write_onnx_pack(tmp_path)
    model = onnx.load(tmp_path / "det_10g.onnx")
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.ClearField("dim_param")
        dimension.dim_value = 640
    onnx.save(model, tmp_path / "det_10g.onnx")
    assert len(load_face_analysis(tmp_path, "CPU").detect(three_people)) == 3


def test_pose_follows_the_light(analyzer: FaceAnalyzer) -> None:
    """Shading one half of a face turns the stand-in's yaw to that side; its angles stay sane."""
    box = (180, 150, 332, 350)
    yaws = []
    for shade in (0.35, 0.0, -0.35):
        (face,) = analyzer.detect(draw_test_faces((512, 512), [box], shades=[shade]))
        assert np.abs(face.pose).max() < 60
        yaws.append(float(face.pose[1]))
    assert abs(yaws[1]) < 5
    assert abs(yaws[0]) > 12
    assert yaws[2] == pytest.approx(-yaws[0], abs=6)


def test_mouth_opens_with_the_painted_one(analyzer: FaceAnalyzer) -> None:
    openings = []
    for mouth in (0.1, 0.3):
        (face,) = analyzer.detect(draw_test_faces((512, 512), [(180, 150, 332, 350)], mouths=[mouth]))
        openings.append(np.ptp(face.landmarks_106[list(MOUTH), 1]) / np.ptp(face.landmarks_106[:, 1]))
    assert openings[1] > openings[0] * 1.02


def test_pack_is_small_and_the_same_at_every_call(pack_dir: Path, tmp_path: Path) -> None:
    write_onnx_pack(tmp_path)
    files = sorted(path.name for path in pack_dir.iterdir())
    assert files == ["1k3d68.onnx", "2d106det.onnx", "det_10g.onnx", "genderage.onnx", "w600k_r50.onnx"]
    assert all((pack_dir / name).read_bytes() == (tmp_path / name).read_bytes() for name in files)
    assert sum((pack_dir / name).stat().st_size for name in files) < 3_000_000


def test_group_photo_gives_boxes_on_faces_only(analyzer: FaceAnalyzer, group_photo: np.ndarray) -> None:
    """The stand-in sees two of the six people before a wall in the colour of skin; it must not see faces elsewhere."""
    people = [(62, 262, 172, 402), (268, 142, 365, 268), (470, 262, 590, 410)]
    people += [(745, 335, 865, 480), (905, 50, 1030, 205), (1130, 275, 1230, 405)]
    faces = analyzer.detect(group_photo)
    assert len(faces) >= 2
    for face in faces:
        assert max(intersection_over_union(np.asarray(face.box_xyxy), np.asarray(box)) for box in people) > 0.4
    assert faces[0].embedding @ faces[1].embedding < 0.6
