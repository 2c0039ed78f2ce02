"""Pictures whose scores are known get them; whatever is wrong with a folder is counted, and nothing more happens."""

import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dynamicid.errors import DynamicIDError
from dynamicid.evaluation.evaluation import Session, open_session
from dynamicid.evaluation.pictures import read_people, split_by_people
from dynamicid.evaluation.tables import Result
from dynamicid.faces.similarity import most_similar

from .conftest import MOST, SLOTS

PICTURES = sum(MOST.values())
ROWS = sum(count * most for count, most in MOST.items())
ONE, SEVERAL = "one person", "several people"
Scored = Callable[..., Result]


def mean(result: Result, group: str, key: str) -> float:
    found = result.groups[group][key].mean
    assert found is not None
    return found


def test_right_pictures(scored: Scored):
    result = scored()
    assert (result.pictures, len(result.rows), result.skipped) == (PICTURES, ROWS, ())
    for group in (ONE, SEVERAL):
        assert mean(result, group, "found") == 1
        assert mean(result, group, "face_sim") > 0.6
        assert mean(result, group, "pose") > 0.9
        assert mean(result, group, "pose_error") < 6
        assert mean(result, group, "expr") > 0.7
        assert mean(result, group, "disturbance") < 0.01
    assert mean(result, SEVERAL, "leakage") < 0.35
    assert mean(result, SEVERAL, "assigned") == 1
    assert result.groups[ONE]["leakage"].mean is None


def test_pasted_photos_look_like_the_people_and_do_nothing_else(scored: Scored):
    right, pasted = scored(), scored("pasted")
    for group in (ONE, SEVERAL):
        assert mean(pasted, group, "face_sim") > mean(right, group, "face_sim")
        assert mean(pasted, group, "expr") < 0.5 * mean(right, group, "expr")
        assert mean(pasted, group, "pose") < 0.5 * mean(right, group, "pose")
    assert mean(pasted, ONE, "disturbance") > 0.1


def test_swapped_people_leak(scored: Scored):
    right, swapped = scored(), scored("swapped")
    assert mean(swapped, SEVERAL, "assigned") == 0
    assert mean(swapped, SEVERAL, "margin") < -0.2
    assert mean(swapped, SEVERAL, "leakage") > 0.6
    for group in (ONE, SEVERAL):
        assert mean(swapped, group, "face_sim") < 0.5 * mean(right, group, "face_sim")
        assert mean(swapped, group, "pose") == pytest.approx(mean(right, group, "pose"), abs=0.1)


def test_a_constant_picture_shows_nobody(scored: Scored):
    result = scored("constant")
    for group in (ONE, SEVERAL):
        for key in ("found", "face_sim", "expr", "expr_probability", "pose"):
            assert mean(result, group, key) == 0
        assert result.groups[group]["pose_error"].mean is None
    assert result.groups[SEVERAL]["leakage"].mean is None
    assert mean(result, SEVERAL, "assigned") == 0


def test_what_a_killed_run_left_is_removed(session: Session, tmp_path: Path):
    left_over = tmp_path / "pictures" / ".01234567.partial"
    left_over.mkdir(parents=True)
    open_session(replace(session.options, out=tmp_path))
    assert not left_over.exists()


def test_another_seed_lies_within_the_interval(scored: Scored):
    first, second = scored(), scored("right", 1)
    for group in (ONE, SEVERAL):
        for key in ("face_sim", "pose", "expr_probability", "found"):
            summary = first.groups[group][key]
            assert summary.low is not None
            assert summary.high is not None
            assert summary.low - 1e-9 <= mean(second, group, key) <= summary.high + 1e-9, (group, key)


def test_twice_the_same_bytes(score: Scored, painted: Callable[..., Path], tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted((painted() / "pictures").iterdir())[::4]:
        shutil.copy(path, folder)
    for name in ("a", "b"):
        score(folder, tmp_path / name, painted() / "unpatched")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["items.parquet", "report.html", "skipped.txt", "table.json", "table.md"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    rows = pq.read_table(tmp_path / "a" / "items.parquet").to_pylist()
    assert {row["clip_t"] for row in rows} == {None}
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    assert "http://www.w3.org" in page
    for outside in ("<script", 'src="http', 'href="http', "url(http"):
        assert outside not in page
    assert "no CLIP-T" in (tmp_path / "a" / "table.md").read_text(encoding="utf-8")
    assert "| CLIP-T" not in (tmp_path / "a" / "table.md").read_text(encoding="utf-8")


def test_an_empty_folder(score: Scored, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    result = score(tmp_path / "empty", tmp_path / "out")
    assert (result.pictures, result.rows, result.measured()) == (0, (), [])
    assert result.reasons == [("no picture of the item", PICTURES)]
    assert "no picture could be scored" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    with pytest.raises(DynamicIDError, match="There is no folder"):
        score(tmp_path / "missing", tmp_path / "out")


def bomb() -> bytes:
    """A PNG that says it has 30000 x 30000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND\xaeB`\x82"


def test_bad_pictures_are_counted(score: Scored, session: Session, painted: Callable[..., Path], tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = [f"{item.item}_{item.seed}" for item in session.items]
    whole = (painted() / "pictures" / f"{names[0]}.png").read_bytes()
    contents = {
        f"{names[0]}.png": whole, f"{names[0]}.webp": whole, f"{names[1]}.png": whole[: len(whole) // 2],
        f"{names[2]}.png": b"", f"{names[3]}.png": b"<?php", f"{names[4]}.png": bomb(), "holiday.png": whole,
        "one-999_1.png": whole, "notes.txt": b"", ".hidden.png": whole,
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / f"{names[5]}.png").mkdir()
    result = score(folder, tmp_path / "out")
    assert {row["picture"] for row in result.rows} == {f"{names[0]}.png"}
    assert dict(result.reasons) == {
        "second picture of the same item and seed": 1,
        "picture: unreadable picture": 2,
        "picture: empty file": 1,
        "picture: too many pixels": 1,
        "a folder": 1,
        "not read: .txt": 1,
        "picture whose name is not <item>_<seed> of the benchmark": 2,
        "no picture of the item": PICTURES - 5,
    }
    assert result.groups[ONE]["face_sim"].spread is None


def test_bad_photos_leave_their_slots_empty(session: Session, painted: Callable[..., Path], tmp_path: Path):
    photos = sorted((painted() / "photos").iterdir())
    for number, path in enumerate(photos):
        shutil.copy(path, tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"\x89PNG broken")
    Image.new("RGB", (96, 96)).save(tmp_path / "2.png")
    shutil.copy(photos[0], tmp_path / "9.png")
    people, skipped = read_people(tmp_path, session.loaded.benchmark, session.networks.analyzer)
    assert sorted(people) == [SLOTS[0], *SLOTS[3:]]
    assert {one.name: one.reason for one in skipped} == {
        "1.png": "photo of a person: unreadable picture",
        "2.png": "photo of a person: no face",
        "9.png": "more photos than the benchmark has people",
    }
    filled, left_out = split_by_people(session.items, people)
    assert {subject.person for item in filled for subject in item.people} <= set(people)
    assert len(filled) + len(left_out) == PICTURES
    assert left_out


def test_unpatched_pictures_of_another_size(
    score: Scored, session: Session, painted: Callable[..., Path], tmp_path: Path
):
    name = f"{session.items[0].item}_{session.items[0].seed}.png"
    for folder in ("pictures", "unpatched"):
        (tmp_path / folder).mkdir()
        shutil.copy(painted() / "pictures" / name, tmp_path / folder)
    Image.new("RGB", (64, 64)).save(tmp_path / "unpatched" / name)
    result = score(tmp_path / "pictures", tmp_path / "out", tmp_path / "unpatched")
    assert ("unpatched: unpatched picture of another size", 1) in result.reasons
    assert result.groups[ONE]["disturbance"].mean is None


def test_face_sim_is_that_of_the_most_similar_face(session: Session, scored: Scored, painted: Callable[..., Path]):
    """What the node Face Similarity computes; that it does is tested in the host."""
    for row in [one for one in scored().rows if one["people"] == 1]:
        image = np.asarray(Image.open(painted() / "pictures" / row["picture"]).convert("RGB"))
        found = most_similar(session.networks.analyzer.detect(image), session.people[row["person"]].embedding)
        assert found is not None
        assert row["face_sim"] == row["best"] == pytest.approx(found[1], abs=1e-6)
