"""Expressions read by an emotion network: cells and face prompts follow it, and a folder knows which one it was."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dynamicid.cli.app import app
from dynamicid.curation import cluster, measuring
from dynamicid.curation.choosing import Photos
from dynamicid.curation.curation import curate
from dynamicid.curation.expressions import find_emotion_model, open_emotion_model
from dynamicid.curation.measuring import SCHEMA as MEASURED
from dynamicid.curation.removal import remove
from dynamicid.curation.settings import Settings, from_json
from dynamicid.errors import DynamicIDError
from dynamicid.synthetic.splits import Split
from dynamicid.synthetic.writing import write_variface
from tests.faces.emotion_files import SEVEN, scores_for, write_emotion_onnx

from .conftest import EMOTION_MODEL, PACK, World, kill_when, options, start
from .test_curate import assert_nowhere, contents


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """``curate`` without Ray; the command has processes of its own and keeps it."""
    monkeypatch.setattr(cluster, "processes", lambda *_: nullcontext())
    monkeypatch.setattr(cluster, "run_parts", lambda work, jobs, gpus: map(work, jobs))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, three photos each."""
    folder = tmp_path_factory.mktemp("few") / "photos"
    folder.mkdir()
    for _ in write_variface(folder, range(2), 3, 128, 0, Split.train):
        pass
    return folder


def settings(photos: Path, out: Path, model: Path | None) -> Settings:
    """As ``options`` of the command."""
    known = None if model is None else find_emotion_model(model)
    return Settings(out, (photos,), PACK, emotion_model=known, part_size=5, size=96)


def says(path: Path, word: str) -> Path:
    """A network that reads one word off every face."""
    return write_emotion_onnx(path, (1, 3, 16, 16), scores_for(SEVEN.split(","), word), metadata={"emotions": SEVEN})


def words(out: Path) -> dict[str, str]:
    """Source -> expression, which the face prompt names, too."""
    rows = pq.read_table(out / "photos.parquet").to_pylist()
    for row in rows:
        prompt = (out / "variface" / row["file"]).with_suffix(".txt").read_text()
        assert f"{row['expression']} expression" in prompt
    return {row["source"]: row["expression"] for row in rows}


def times(out: Path, stage: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (out / "work" / stage).glob("part-*.parquet")}


def test_words_follow_the_network_and_the_report_names_it(photos: Path, tmp_path: Path):
    one = settings(photos, tmp_path / "out", says(tmp_path / "afraid.onnx", "fear"))
    assert curate(one).kept == 6
    assert set(words(one.out).values()) == {"fear"}
    assert one.emotion_model is not None
    assert f"read by afraid.onnx (SHA-256 {one.emotion_model.digest})" in (one.out / "report.html").read_text()
    noted = json.loads((one.work / "settings.json").read_text())
    assert from_json(noted, one.out) == one
    (one.work / "settings.json").write_text(json.dumps({**noted, "format": 3, "pack": "9.1"}))
    for use in (lambda: curate(one), lambda: remove(one.out, (), ())):
        with pytest.raises(DynamicIDError, match=r"in format 3 by version 9\.1"):
            use()


def test_another_network_measures_again_and_none_is_as_if_there_had_been_none(photos: Path, tmp_path: Path):
    plain = settings(photos, tmp_path / "plain", None)
    curate(plain)
    for path in (plain.work / "measured").glob("*.parquet"):
        assert pq.read_schema(path).equals(MEASURED)
    assert "emotion" not in (plain.work / "settings.json").read_text()

    one = settings(photos, tmp_path / "out", says(tmp_path / "afraid.onnx", "fear"))
    curate(one)
    decoded, measured = times(one.out, "decoded"), times(one.out, "measured")
    moved = (tmp_path / "afraid.onnx").rename(tmp_path / "moved.onnx")
    curate(settings(photos, one.out, moved))
    assert times(one.out, "measured") == measured
    curate(settings(photos, one.out, says(tmp_path / "glad.onnx", "happy")))
    assert set(words(one.out).values()) == {"happy"}
    assert all(times(one.out, "measured")[path] > time for path, time in measured.items())
    assert times(one.out, "decoded") == decoded
    curate(replace(plain, out=one.out))
    assert contents(one.out) == contents(plain.out)


def test_a_folder_begun_without_a_network_goes_on_with_one(photos: Path, tmp_path: Path):
    plain = settings(photos, tmp_path / "out", None)
    curate(plain)
    one = settings(photos, plain.out, says(tmp_path / "afraid.onnx", "fear"))
    curate(one)
    assert set(words(one.out).values()) == {"fear"}
    curate(replace(one, out=tmp_path / "new"))
    assert contents(one.out) == contents(tmp_path / "new")


def test_removal_needs_no_network_and_leaves_nothing_behind(photos: Path, tmp_path: Path):
    model = says(tmp_path / "afraid.onnx", "fear")
    one = settings(photos, tmp_path / "out", model)
    curate(one)
    rows = pq.read_table(one.out / "photos.parquet").to_pylist()
    gone = {row["photo_id"] for row in rows if row["person"] == rows[0]["person"]}
    model.unlink()
    remove(one.out, [rows[0]["person"]], [])
    assert_nowhere(one.out, {*gone, rows[0]["person"]})
    before, measured = contents(one.out), times(one.out, "measured")
    curate(one)
    assert contents(one.out) == before
    assert times(one.out, "measured") == measured


def test_what_is_no_network_is_refused_before_anything_is_written(photos: Path, tmp_path: Path):
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    for name, found in (("missing.onnx", "There is no file"), ("broken.onnx", "no sound ONNX file")):
        chosen = ("--face-pack", PACK, "--emotion-model", tmp_path / name)
        done = CliRunner().invoke(app, ["curate", *map(str, (photos, "--out", tmp_path / "out", *chosen))])
        assert done.exit_code == 1
        assert found in done.output
    assert not (tmp_path / "out").exists()


def test_a_worker_refuses_another_file_than_the_run_was_begun_with(tmp_path: Path):
    model = find_emotion_model(says(tmp_path / "one.onnx", "fear"))
    assert open_emotion_model(model).path == model.path
    says(model.path, "happy")
    with pytest.raises(DynamicIDError, match="the same file"):
        open_emotion_model(model)


def test_a_workers_networks_take_one_thread_each(tmp_path: Path):
    analyzer = measuring._analyzer(PACK, find_emotion_model(says(tmp_path / "one.onnx", "fear")))
    assert analyzer.emotion_reader is not None
    sessions = [network.session for network in analyzer._networks.values()] + [analyzer.emotion_reader._session]
    assert [session.get_session_options().intra_op_num_threads for session in sessions] == [1] * 5


def test_a_network_that_says_no_numbers_costs_the_photo_only(photos: Path, tmp_path: Path):
    scores = [float("nan")] * 7
    path = write_emotion_onnx(tmp_path / "a.onnx", (1, 3, 16, 16), scores, metadata={"emotions": SEVEN})
    outcome = curate(settings(photos, tmp_path / "out", path))
    assert outcome.reasons == {"the emotion network cannot read the face": 6}


def test_distances_stay_the_landmarks():
    random = np.random.default_rng(0)
    measured = [random.normal(size=(9, width)) for width in (5, 3)]
    one = Photos(measured[0], np.zeros(5), measured[1], *random.normal(size=(3, 9)))
    other = replace(one, emotion=np.array(["sad"] * 9))
    assert other.words() == ["sad"] * 9
    assert (other.coordinates() == one.coordinates()).all()


@pytest.fixture(scope="module")
def truth(world: World) -> dict[str, str]:
    """Source -> the expression that was drawn."""
    lines = map(json.loads, (world.photos / "annotations.jsonl").read_text().splitlines())
    return {f"photos/{line['file']}": line["faces"][0]["motion"]["expression"] for line in lines}


def share_right(out: Path, truth: dict[str, str]) -> float:
    return float(np.mean([truth[source] == word for source, word in words(out).items() if source in truth]))


def test_killed_and_in_workers_the_words_are_the_drawn_ones(world: World, truth: dict[str, str], tmp_path: Path):
    here = settings(world.photos, tmp_path / "here", EMOTION_MODEL)
    curate(here)
    assert share_right(here.out, truth) >= 0.85
    assert share_right(world.out, truth) < 0.6
    out = tmp_path / "out"
    arguments = (world.photos, *options(out), "--emotion-model", EMOTION_MODEL)
    assert kill_when(out / "work/measured/*.json", 2, *arguments)
    done = start(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(out) == contents(here.out)
