"""What the face tests share: one stand-in pack and one analyzer on it, pictures, and machines that pretend."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dynamicid.faces.analysis import FaceAnalyzer, load_face_analysis
from tests.standin.onnx_pack import write_onnx_pack
from tests.standin.painted_faces import draw_test_faces

FakeMachine = Callable[..., None]


@pytest.fixture
def fake_machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """A machine with these distributions (name -> version), onnxruntime providers (None: not importable; an empty
    list: damaged) and a torch with or without a card, for CUDA of some version or none."""

    def apply(
        installed: Iterable[str], offered: list[str] | None, has_cuda: bool = False, cuda_version: str | None = None
    ) -> None:
        monkeypatch.setattr("dynamicid.faces.runtime._is_installed", lambda name: name in installed)
        working = {"get_available_providers": lambda: offered, "InferenceSession": object} if offered else {}
        monkeypatch.setitem(sys.modules, "onnxruntime", None if offered is None else SimpleNamespace(**working))
        version = SimpleNamespace(hip=None, cuda=cuda_version)
        torch = SimpleNamespace(version=version, cuda=SimpleNamespace(is_available=lambda: has_cuda))
        monkeypatch.setitem(sys.modules, "torch", torch)

    return apply


@pytest.fixture(scope="session")
def pack_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("insightface") / "models" / "buffalo_l"
    write_onnx_pack(folder)
    return folder


@pytest.fixture(scope="session")
def analyzer(pack_dir: Path) -> FaceAnalyzer:
    return load_face_analysis(pack_dir, "CPU")


@pytest.fixture
def three_people() -> np.ndarray:
    """From left to right: middle-sized, largest, smallest and topmost."""
    return draw_test_faces((400, 640), [(30, 150, 106, 250), (220, 120, 372, 320), (480, 40, 541, 120)])


@pytest.fixture(scope="session")
def group_photo() -> np.ndarray:
    """InsightFace's own sample: six people at a table, 1280 x 886."""
    import insightface

    path = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
