"""A second recogniser and ground truths, from the pictures to the report."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.evaluation.compare import compare
from dynamicid.evaluation.compare_report import as_html, as_json, as_markdown
from dynamicid.evaluation.compare_runs import read_runs
from dynamicid.evaluation.evaluation import Session, evaluate, open_session
from dynamicid.evaluation.metrics import METRICS
from dynamicid.evaluation.scoring import Row
from dynamicid.evaluation.tables import Result, make_result, write_tables

from ..standin.onnx_pack import write_onnx_pack
from .conftest import MOST, PACK

ONE, SEVERAL = "one person", "several people"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of two files: the drawn world's detector, and a recogniser that knows colours only."""
    folder = tmp_path_factory.mktemp("judge") / "colours"
    write_onnx_pack(folder)
    shutil.copy(PACK / "det_10g.onnx", folder)
    for name in ("2d106det", "1k3d68", "genderage"):
        (folder / f"{name}.onnx").unlink()
    return folder


@pytest.fixture(scope="module")
def judged(session: Session, painted: Callable[..., Path], judge: Path, tmp_path_factory: pytest.TempPathFactory):
    """``judged(control, first_seed)`` -> the result with judge and ground truth."""
    root, done = tmp_path_factory.mktemp("judged"), {}
    options = replace(
        session.options, judges=(judge,), ground_truth=painted() / "ground_truth", emotion_model=None, most=2
    )
    opened = open_session(options)

    def get(control: str = "right", first_seed: int = 0) -> Result:
        if (control, first_seed) not in done:
            out = root / f"{control}-{first_seed}"
            mine = replace(opened, options=replace(options, out=out))
            done[control, first_seed] = evaluate(
                mine, painted(control, first_seed) / "pictures", None, (), lambda *_: None
            )
        return done[control, first_seed]

    return get


def mean(result: Result, group: str, key: str) -> float:
    found = result.groups[group][key].mean
    assert found is not None
    return found


def test_every_likeness_is_given_by_both(judged: Callable[..., Result]):
    result = judged()
    for group in (ONE, SEVERAL):
        pack, other = (mean(result, group, key) for key in ("face_sim", "face_sim_judge_1"))
        assert pack != other
        assert mean(result, group, "face_sim_mean") == pytest.approx((pack + other) / 2)
        assert mean(result, group, "count") == 1
    assert mean(result, SEVERAL, "each_once") == mean(result, SEVERAL, "assigned") == 1
    assert 0 < mean(result, SEVERAL, "agree") <= 1
    assert result.groups[ONE]["face_sim_judge_2"].mean is None
    assert "colours, SHA-256" in result.setting.judges


def test_the_ground_truth_is_one_end_of_the_scale_and_pasting_lies_beyond_the_middle(judged: Callable[..., Result]):
    true, again, pasted = judged(), judged("right", 1), judged("pasted")
    for group in (ONE, SEVERAL):
        for key in ("copy_paste", "copy_paste_judge_1", "copy_paste_mean"):
            assert mean(true, group, key) == pytest.approx(-1, abs=0.02), key
        assert mean(true, group, "sim_gt") == pytest.approx(1, abs=1e-3)
        # The photo is shrunk: the recogniser sees it at half the angle between photo and ground truth.
        assert mean(pasted, group, "copy_paste") > 0.3
        assert mean(again, group, "copy_paste") < 0
        assert mean(pasted, group, "sim_gt") < mean(again, group, "sim_gt") < 1


def test_swapped_people_are_right_in_number_only(judged: Callable[..., Result]):
    result = judged("swapped")
    assert mean(result, SEVERAL, "count") == mean(result, SEVERAL, "each_once") == 1
    assert mean(result, SEVERAL, "hungarian") > 0.5 > mean(result, SEVERAL, "face_sim") + 0.4
    grey = judged("constant")
    assert [mean(grey, SEVERAL, key) for key in ("count", "each_once", "hungarian", "sim_gt")] == [0, 0, 0, 0]


def test_a_definition_and_a_source_stand_beside_every_new_number(judged: Callable[..., Result]):
    shown = {metric.key for metric in judged().measured()}
    new = {"hungarian": "2506.20879", "count": "2506.20879", "each_once": "2509.06818", "sim_gt": "2510.14975"}
    for metric in METRICS:
        if source := {**new, "copy_paste": "2510.14975"}.get(metric.key):
            assert source in metric.definition
            assert metric.key in shown


def write_run(folder: Path, result: Result, rows: list[Row]) -> Path:
    write_tables(make_result(result.setting, rows, ()), folder)
    return folder


def test_an_inverted_order_of_recognisers_is_flagged(judged: Callable[..., Result], tmp_path: Path):
    result = judged()
    rows = [dict(row) for row in result.rows]
    for row in rows:
        row["face_sim"] -= 0.2
        row["face_sim_judge_1"] += 0.1
    runs = [write_run(tmp_path / "first", result, list(result.rows)), write_run(tmp_path / "second", result, rows)]
    comparison = compare(read_runs(runs))
    text = f"{ONE}: by FaceSim 'first' is better than 'second', by FaceSim, judge 1 it is worse (both intervals"
    for page in (as_markdown(comparison), as_html(comparison).replace("&#39;", "'")):
        assert "The recognisers disagree" in page
        assert text in page
    flagged = {(one["group"], one["metric"], one["judge"]) for one in as_json(comparison)["disagreements"]}
    assert flagged == {(group, "face_sim", "face_sim_judge_1") for group in (ONE, SEVERAL)}
    same = compare(read_runs([runs[0], write_run(tmp_path / "third", result, list(result.rows))]))
    assert same.disagreements == ()
    assert "disagree" not in as_markdown(same).replace("agree**", "")


def test_runs_with_other_judges_are_refused(judged: Callable[..., Result], tmp_path: Path):
    result = judged()
    mine = write_run(tmp_path / "mine", result, list(result.rows))
    other = replace(result, setting=replace(result.setting, judges="antelopev2, SHA-256 0000000000000000"))
    without = replace(result, setting=replace(result.setting, judges="none: one recogniser only"))
    with pytest.raises(DynamicIDError, match="judges"):
        read_runs([mine, write_run(tmp_path / "other", other, list(result.rows))])
    assert len(read_runs([mine, write_run(tmp_path / "without", without, list(result.rows))])) == 2


def test_what_is_wrong_with_ground_truths_and_judges_is_counted(
    session: Session, painted: Callable[..., Path], judge: Path, tmp_path: Path
):
    truths, pictures = tmp_path / "truths", tmp_path / "pictures"
    shutil.copytree(painted() / "ground_truth", truths)
    pictures.mkdir()
    first, second, third = (item.item for item in session.items[:3])
    (truths / f"{first}.png").unlink()
    (truths / f"{second}.png").write_bytes(b"")
    for item in session.items[:3]:
        shutil.copy(painted() / "pictures" / f"{item.item}_{item.seed}.png", pictures)
    options = replace(session.options, out=tmp_path / "out", ground_truth=truths, emotion_model=None)
    result = evaluate(replace(session, options=options), pictures, None, (), lambda *_: None)
    assert {("no ground truth beside it", 1), ("ground truth: empty file", 1)} <= set(result.reasons)
    assert {row["item"]: row["sim_gt"] is None for row in result.rows} == {first: True, second: True, third: False}
    with pytest.raises(DynamicIDError, match="2 is the most"):
        open_session(replace(options, judges=(judge,) * 3))
    assert json.loads((tmp_path / "out" / "table.json").read_text(encoding="utf-8"))["setting"]["ground_truth"]
    assert len(session.items) == sum(MOST.values())
