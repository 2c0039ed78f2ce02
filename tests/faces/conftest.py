"""What the face tests share: one stand-in pack and one analyzer on it, and pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dynamicid.faces.analysis import FaceAnalyzer, load_face_analysis
from scripts.standin.onnx_pack import draw_test_faces, write_onnx_pack


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
