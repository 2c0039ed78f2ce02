"""Small folders in the layouts of published benchmarks, with drawn people in them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dynamicid.cli.app import app
from dynamicid.errors import DynamicIDError
from dynamicid.evaluation.evaluation import Session
from dynamicid.evaluation.published import PublishedOptions, score_published
from dynamicid.evaluation.tables import Result

from .conftest import PACK

ONE, SEVERAL = "one person", "several people"
Build = Callable[[Path], Path]


@pytest.fixture(scope="module")
def multiid(session: Session, painted: Callable[..., Path]) -> Build:
    """MultiID-Bench as its README lays it out: a folder a picture."""

    def build(root: Path) -> Path:
        for number, item in enumerate(session.items[::2], 1):
            folder = root / f"{number:04d}"
            folder.mkdir(parents=True)
            shutil.copy(painted("right", 1) / "pictures" / f"{item.item}_{item.seed + 1}.png", folder / "out.png")
            shutil.copy(painted() / "ground_truth" / f"{item.item}.png", folder / "ori.png")
            for place, subject in enumerate(item.people, 1):
                shutil.copy(painted() / "photos" / f"{subject.person}.png", folder / f"ref_{place}.png")
            (folder / "meta.json").write_text(json.dumps({"prompt": item.prompt, "caption_en": "more"}))
        return root

    return build


@pytest.fixture(scope="module")
def multihuman(session: Session, painted: Callable[..., Path]) -> Build:
    """MultiHuman-Testbench as its scripts leave it: metadata and faces below data/, pictures by number in results/."""

    def build(root: Path) -> Path:
        shutil.copytree(painted() / "photos", root / "data" / "faces")
        (root / "results").mkdir()
        entries = []
        for number, item in enumerate(session.items[::2]):
            picture = painted() / "pictures" / f"{item.item}_{item.seed}.png"
            shutil.copy(picture, root / "results" / f"{number}.png")
            people = [f"data/faces/{subject.person}.png" for subject in item.people]
            entries.append({"people": people, "prompt": item.prompt, "vlm_questions": ["is it?"], "attributes": [[2]]})
        (root / "data" / "multihuman_metadata.json").write_text(json.dumps(entries))
        return root

    return build


def score(folder: Path, out: Path, **options: Any) -> Result:
    return score_published(
        PublishedOptions(folder, options.pop("pictures", None), PACK, out, **options), lambda *_: None
    )


def mean(result: Result, group: str, key: str) -> float:
    found = result.groups[group][key].mean
    assert found is not None
    return found


def test_multiid_bench(multiid: Build, session: Session, tmp_path: Path):
    result = score(multiid(tmp_path / "bench"), tmp_path / "out", judges=(PACK,))
    assert (result.pictures, result.skipped) == (len(session.items[::2]), ())
    for group in (ONE, SEVERAL):
        assert 0.5 < mean(result, group, "face_sim") < mean(result, group, "sim_gt")
        assert mean(result, group, "copy_paste") < 0
        assert mean(result, group, "copy_paste_judge_1") < 0
        assert mean(result, group, "count") == 1
        assert result.groups[group]["expr"].mean is None
    assert mean(result, SEVERAL, "each_once") == 1
    assert "MultiID-Bench, SHA-256" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "copy-paste" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_the_photo_itself_is_the_other_end_of_the_scale_of_copy_paste(multiid: Build, tmp_path: Path):
    """People alone: in a group the photos would be smaller, and the recogniser would see other faces."""
    root = multiid(tmp_path / "bench")
    for folder in sorted(root.iterdir()):
        if (folder / "ref_2.png").exists():
            shutil.rmtree(folder)
        else:
            shutil.copy(folder / "ref_1.png", folder / "out.png")
    result = score(root, tmp_path / "out", judges=(PACK,))
    for key in ("copy_paste", "copy_paste_judge_1", "copy_paste_mean"):
        assert mean(result, ONE, key) == pytest.approx(1, abs=0.02)
    assert mean(result, ONE, "sim_gt") < 0.95 < mean(result, ONE, "face_sim")


def test_multihuman_testbench(multihuman: Build, session: Session, tmp_path: Path):
    root = multihuman(tmp_path / "bench")
    (root / "results" / "0.png").unlink()
    line = ["evaluate", "published", root, "--pictures", root / "results", "--face-pack", PACK]
    outcome = CliRunner().invoke(app, list(map(str, [*line, "--out", tmp_path / "out"])))
    assert outcome.exit_code == 0, outcome.output
    assert "Hungarian ID" in outcome.output
    assert "Sim(GT)" not in outcome.output
    table = json.loads((tmp_path / "out" / "table.json").read_text(encoding="utf-8"))
    assert table["pictures"] == len(session.items[::2]) - 1
    assert table["skipped"] == {"no picture of the item": 1}
    assert table["groups"][SEVERAL]["hungarian"]["mean"] > 0.6
    assert table["groups"][SEVERAL]["count"]["mean"] == 1


def test_what_cannot_be_used_is_counted(multiid: Build, tmp_path: Path):
    root = multiid(tmp_path / "bench")
    (root / "0001" / "out.png").unlink()
    (root / "0002" / "ref_1.png").unlink()
    (root / "0003" / "ref_1.png").write_bytes(b"")
    (root / "0004" / "ori.png").unlink()
    result = score(root, tmp_path / "out")
    assert dict(result.reasons) == {"no out.jpg": 1, "no ref_1.jpg": 1, "photo of a person: empty file": 1}
    assert {row["item"]: row["sim_gt"] is None for row in result.rows}["0004"]
    (root / "0005" / "meta.json").write_text('{"caption": "no prompt"}')
    with pytest.raises(DynamicIDError, match="prompt: Field required"):
        score(root, tmp_path / "out")


def test_other_folders_are_refused(multihuman: Build, tmp_path: Path):
    with pytest.raises(DynamicIDError, match="neither data/multihuman_metadata"):
        score(tmp_path, tmp_path / "out")
    with pytest.raises(DynamicIDError, match="keeps painted pictures apart"):
        score(multihuman(tmp_path / "bench"), tmp_path / "out")
