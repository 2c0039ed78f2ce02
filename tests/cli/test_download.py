"""``download`` against a hub on this machine, and against none."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dynamicid.checkpoints.published import NON_COMMERCIAL, PUBLISHED_FILES, PublishedFile
from dynamicid.cli import download as download_module
from dynamicid.cli import hub as hub_module
from dynamicid.cli.app import app
from tests.cli.fake_hub import FakeHub, serving

WEIGHTS = os.urandom(300_000)
FACES = b"onnx" * 1000
ITEMS = (
    PublishedFile("dynamicid", "someone/weights", "SAA.bin", "dynamicid", "SAA.bin", "Apache-2.0", "layers"),
    PublishedFile(
        group="insightface",
        repo="someone/faces",
        remote="models/pack/det.onnx",
        folder="insightface/models/pack",
        name="det.onnx",
        licence=NON_COMMERCIAL,
        purpose="faces",
        size=len(FACES),
        sha256=hashlib.sha256(FACES).hexdigest(),
        confirm=True,
    ),
)


SMALL_CHUNK = 50_000


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    fake = FakeHub({"someone/weights/SAA.bin": WEIGHTS, "someone/faces/models/pack/det.onnx": FACES})
    with serving(fake):
        monkeypatch.setenv("HF_ENDPOINT", fake.address)
        monkeypatch.setattr(download_module, "PUBLISHED_FILES", ITEMS)
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", SMALL_CHUNK)
        yield fake


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    folder = tmp_path / "Comfy UI é"
    (folder / "models").mkdir(parents=True)
    return folder


def run(comfyui: Path, *arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["download", "--comfyui", str(comfyui), *arguments], input=answer)


def test_everything_arrives_whole_and_in_its_place(hub: FakeHub, comfyui: Path):
    result = run(comfyui, "--yes")
    assert result.exit_code == 0, result.output
    assert (comfyui / "models/dynamicid/SAA.bin").read_bytes() == WEIGHTS
    assert (comfyui / "models/insightface/models/pack/det.onnx").read_bytes() == FACES
    assert sorted(path.name for path in (comfyui / "models").iterdir()) == ["dynamicid", "insightface"]
    assert sorted(path.name for path in (comfyui / "models/dynamicid").iterdir()) == ["SAA.bin"]
    assert result.output.index("300 kB") < result.output.index("Fetching SAA.bin")


def test_complete_files_are_skipped(hub: FakeHub, comfyui: Path):
    assert run(comfyui, "--yes").exit_code == 0
    hub.ranges.clear()
    result = run(comfyui, "--yes")
    assert result.exit_code == 0
    assert "Already there" in result.output
    assert hub.ranges == []


def test_only_one_group(hub: FakeHub, comfyui: Path):
    assert run(comfyui, "--yes", "--only", "dynamicid").exit_code == 0
    assert (comfyui / "models/dynamicid/SAA.bin").exists()
    assert not (comfyui / "models/insightface").exists()


def test_the_licence_is_shown_and_may_be_declined(hub: FakeHub, comfyui: Path):
    result = run(comfyui, answer="n\n")
    assert result.exit_code == 1
    assert "non-commercial research only" in result.output
    assert "nothing was fetched" in result.output
    assert hub.ranges == []
    assert run(comfyui, answer="y\n").exit_code == 0


def test_a_broken_connection_is_resumed_by_the_next_run(hub: FakeHub, comfyui: Path):
    hub.break_after = 120_000
    result = run(comfyui, "--yes", "--only", "dynamicid")
    assert result.exit_code == 1
    assert "run this command again to go on" in result.output
    assert not (comfyui / "models/dynamicid/SAA.bin").exists()
    hub.break_after = None
    hub.ranges.clear()
    result = run(comfyui, "--yes", "--only", "dynamicid")
    assert result.exit_code == 0, result.output
    assert (comfyui / "models/dynamicid/SAA.bin").read_bytes() == WEIGHTS
    assert hub.ranges == ["bytes=100000-"]
    assert "Going on with SAA.bin at 33%" in result.output
    assert not (comfyui / "models" / hub_module.STAGING_FOLDER).exists()


def test_a_wrong_checksum_is_refused_and_leaves_nothing(hub: FakeHub, comfyui: Path):
    hub.checksums["someone/weights/SAA.bin"] = "0" * 64
    result = run(comfyui, "--yes", "--only", "dynamicid")
    assert result.exit_code == 1
    assert "checksum differs" in result.output
    assert not [path for path in (comfyui / "models").rglob("*") if path.is_file()]


def test_a_replaced_face_pack_is_refused_before_any_download(hub: FakeHub, comfyui: Path):
    hub.files["someone/faces/models/pack/det.onnx"] = b"evil" * 1000
    result = run(comfyui, "--yes")
    assert result.exit_code == 1
    assert "It was replaced by another file" in result.output
    assert hub.ranges == []


def test_another_file_in_the_place_is_kept_unless_forced(hub: FakeHub, comfyui: Path):
    place = comfyui / "models/dynamicid/SAA.bin"
    place.parent.mkdir()
    place.write_bytes(b"mine")
    result = run(comfyui, "--yes", "--only", "dynamicid")
    assert result.exit_code == 1
    assert "it has 4 bytes, the published file 300000" in result.output
    assert place.read_bytes() == b"mine"
    assert run(comfyui, "--yes", "--only", "dynamicid", "--force").exit_code == 0
    assert place.read_bytes() == WEIGHTS


def test_a_full_disk_is_seen_before_any_download(hub: FakeHub, comfyui: Path, monkeypatch: pytest.MonkeyPatch):
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    result = run(comfyui, "--yes")
    assert result.exit_code == 1
    assert "304 kB are needed and 1 kB are free" in result.output
    assert hub.ranges == []


def test_ctrl_c_leaves_no_half_file_under_a_final_name(hub: FakeHub, comfyui: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(path: Path, remote: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hub_module, "difference", interrupted)
    result = run(comfyui, "--yes", "--only", "dynamicid")
    assert result.exit_code == 130
    assert not list((comfyui / "models/dynamicid").iterdir())


def test_a_file_that_is_not_there_any_more(hub: FakeHub, comfyui: Path):
    del hub.files["someone/weights/SAA.bin"]
    result = run(comfyui, "--yes")
    assert result.exit_code == 1
    assert "does not give the files" in result.output


@pytest.mark.parametrize("environment", [{"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_offline_says_which_files_where_and_from_whom(
    environment: dict[str, str], comfyui: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = run(comfyui, "--yes")
    assert result.exit_code == 1
    for item in PUBLISHED_FILES:
        assert item.place in result.output
        assert item.source in result.output
    assert "Traceback" not in result.output
    assert "cannot be reached" in result.output


def test_the_list_needs_no_network_and_no_comfyui(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    result = CliRunner().invoke(app, ["download", "--list"])
    assert result.exit_code == 0
    assert "models/dynamicid/SAA.bin" in result.output
    assert "models/clip_vision/CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors" in result.output
    assert "models/insightface/models/buffalo_l/2d106det.onnx" in result.output
    assert "buffalo_l.zip" in result.output


def test_a_folder_that_is_no_comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    result = run(tmp_path, "--yes")
    assert result.exit_code == 1
    assert "is no ComfyUI folder" in result.output
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    result = CliRunner().invoke(app, ["download", "--yes"])
    assert result.exit_code == 1
    assert "COMFYUI_PATH" in result.output


def test_comfyui_is_found_by_the_environment(hub: FakeHub, comfyui: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COMFYUI_PATH", str(comfyui))
    assert CliRunner().invoke(app, ["download", "--yes", "--only", "dynamicid"]).exit_code == 0
    assert (comfyui / "models/dynamicid/SAA.bin").exists()


def test_comfyui_is_found_around_the_pack(comfyui: Path, monkeypatch: pytest.MonkeyPatch):
    from dynamicid.cli import places

    for name in ("main.py", "folder_paths.py"):
        (comfyui / name).touch()
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(places, "PACK_FOLDER", comfyui / "custom_nodes" / "the pack")
    assert places.find_comfyui(None) == comfyui
