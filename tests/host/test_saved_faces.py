"""Save Face: everybody who saves at the same moment keeps their face."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest


def test_faces_saved_at_once_under_one_name_are_all_kept(
    pack: Any, make_face: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folders = pack.load("dynamicid.host.folders")
    monkeypatch.setattr(folders, "_face_folders", lambda: [tmp_path])
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: folders.save_new_face(make_face("anna"), "anna.v2"), range(40)))
    assert len(set(paths)) == 40
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert tmp_path / "anna.v2_40.safetensors" in paths
