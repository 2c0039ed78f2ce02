"""Pack folders: which are listed, and what is said of missing, incomplete and broken ones."""

import logging
import shutil
import sys
from pathlib import Path

import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.faces.analysis import load_face_analysis
from dynamicid.faces.packs import find_pack, list_packs


def test_list_packs_finds_plain_and_nested_folders_of_all_roots(tmp_path: Path) -> None:
    first, second = tmp_path / "models one", tmp_path / "模型"
    for folder in (first / "models/antelopev2/antelopev2", first / "models/buffalo_l", second / "models/mine"):
        folder.mkdir(parents=True)
        (folder / "any.onnx").touch()
    (first / "models/empty").mkdir()
    (first / "models/buffalo_l.zip").touch()
    assert list_packs([first, second, tmp_path / "absent"]) == ["buffalo_l", "antelopev2", "mine"]
    assert find_pack([first, second], "antelopev2") == first / "models/antelopev2/antelopev2"
    assert find_pack([first, second], "mine") == second / "models/mine"


@pytest.mark.parametrize("root", [".", "insightface", "insightface/models", "insightface/models/antelopev2"])
def test_every_folder_that_people_name_in_yaml_is_understood(tmp_path: Path, root: str) -> None:
    pack = tmp_path / "insightface" / "models" / "antelopev2"
    pack.mkdir(parents=True)
    for name in ("scrfd_10g_bnkps.ONNX", "glintr100.onnx"):
        (pack / name).touch()
    (tmp_path / "insightface" / "inswapper_128.onnx").touch()
    assert list_packs([tmp_path / root]) == ["antelopev2"]
    assert find_pack([tmp_path / root], "antelopev2") == pack
    with pytest.raises(DynamicIDError) as caught:
        find_pack([tmp_path / root], "buffalo_l")
    place = tmp_path / "models" if root == "." else pack.parent
    assert str(caught.value).endswith(f"lie in {place / 'buffalo_l'}.")


def test_list_packs_ignores_the_twins_that_macos_leaves(tmp_path: Path) -> None:
    (tmp_path / "models/pack").mkdir(parents=True)
    (tmp_path / "models/pack/._det_10g.onnx").touch()
    assert list_packs([tmp_path]) == []


def test_missing_pack_names_place_source_and_licence(tmp_path: Path) -> None:
    with pytest.raises(DynamicIDError) as caught:
        find_pack([tmp_path], "buffalo_l")
    text = str(caught.value)
    for part in (str(tmp_path / "models" / "buffalo_l"), "det_10g.onnx", "1k3d68.onnx", "non-commercial"):
        assert part in text
    assert "https://github.com/deepinsight/insightface/releases" in text


def test_absent_folder_is_our_error_and_nothing_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(DynamicIDError, match="no ONNX file"):
        load_face_analysis(tmp_path / "buffalo_l", "CPU")
    assert list(tmp_path.iterdir()) == []


def test_nested_pack_loads_and_finds_faces(pack_dir: Path, tmp_path: Path, three_people) -> None:
    shutil.copytree(pack_dir, tmp_path / "buffalo_l" / "buffalo_l")
    analyzer = load_face_analysis(tmp_path / "buffalo_l", "CPU")
    assert analyzer.pack_dir == tmp_path / "buffalo_l" / "buffalo_l"
    assert len(analyzer.detect(three_people)) == 3


def test_pack_loads_from_an_awkward_folder_name(pack_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Gesichter [größer] 顔"
    shutil.copytree(pack_dir, folder)
    assert load_face_analysis(folder, "CPU").provider == "CPU"


@pytest.mark.parametrize(
    ("file", "task"),
    [
        ("det_10g.onnx", "detection"),
        ("w600k_r50.onnx", "recognition"),
        ("2d106det.onnx", "landmark_2d_106"),
        ("1k3d68.onnx", "landmark_3d_68"),
    ],
)
def test_incomplete_pack_names_the_missing_network(pack_dir: Path, tmp_path: Path, file: str, task: str) -> None:
    folder = tmp_path / "buffalo_l"
    shutil.copytree(pack_dir, folder)
    (folder / file).unlink()
    with pytest.raises(DynamicIDError) as caught:
        load_face_analysis(folder, "CPU")
    assert f"no network for {task} (in buffalo_l: {file})." in str(caught.value)


def test_pack_without_genderage_is_complete(pack_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "buffalo_l"
    shutil.copytree(pack_dir, folder)
    (folder / "genderage.onnx").unlink()
    assert load_face_analysis(folder, "CPU").provider == "CPU"


@pytest.mark.parametrize("kind", ["empty", "text", "truncated"])
@pytest.mark.parametrize("file", ["det_10g.onnx", "1k3d68.onnx"])
def test_broken_file_is_named(pack_dir: Path, tmp_path: Path, kind: str, file: str) -> None:
    folder = tmp_path / "buffalo_l"
    shutil.copytree(pack_dir, folder)
    whole = (folder / file).read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\n"
    contents = {"empty": b"", "text": pointer, "truncated": whole[: len(whole) // 2]}
    (folder / file).write_bytes(contents[kind])
    with pytest.raises(DynamicIDError, match="not a sound ONNX file") as caught:
        load_face_analysis(folder, "CPU")
    assert str(folder / file) in str(caught.value)


def test_foreign_onnx_file_is_passed_over(pack_dir: Path, tmp_path: Path) -> None:
    """A network of a shape that InsightFace routes to nothing, first in the alphabet."""
    from onnx import TensorProto, helper, save

    folder = tmp_path / "buffalo_l"
    shutil.copytree(pack_dir, folder)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 64, 32]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "foreign", tensors[:1], tensors[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), folder / "0.onnx")
    assert load_face_analysis(folder, "CPU").provider == "CPU"


def test_other_recognition_network_is_warned_of(
    pack_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "antelopev2"
    shutil.copytree(pack_dir, folder)
    (folder / "w600k_r50.onnx").rename(folder / "glintr100.onnx")
    with caplog.at_level(logging.WARNING):
        load_face_analysis(folder, "CPU")
    assert "glintr100.onnx" in caplog.text
    assert "w600k_r50.onnx" in caplog.text


def test_missing_insightface_beside_a_gpu_runtime_spares_that_runtime(
    pack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """insightface requires the distribution onnxruntime, which would overwrite onnxruntime-gpu."""
    monkeypatch.setitem(sys.modules, "insightface", None)
    monkeypatch.setattr("dynamicid.faces.runtime._is_installed", lambda name: name == "onnxruntime-gpu")
    monkeypatch.setattr("dynamicid.faces.runtime._torch_cuda_version", lambda: None)
    pip = f'"{sys.executable}" -m pip install'
    with pytest.raises(DynamicIDError) as caught:
        load_face_analysis(pack_dir, "CPU")
    assert f"{pip} insightface and then: {pip} --force-reinstall --no-deps onnxruntime-gpu," in str(caught.value)


def test_missing_insightface_gives_the_pip_command_of_this_python(
    pack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "insightface", None)
    monkeypatch.setattr("dynamicid.faces.runtime._is_installed", lambda name: name == "onnxruntime")
    with pytest.raises(DynamicIDError) as caught:
        load_face_analysis(pack_dir, "CPU")
    assert "The Python package insightface cannot be imported" in str(caught.value)
    assert f'"{sys.executable}" -m pip install insightface, then' in str(caught.value)
