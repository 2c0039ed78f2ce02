"""Runs side by side: differences that are known come out, and runs that mean different things are refused."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dynamicid.cli.app import app
from dynamicid.errors import DynamicIDError
from dynamicid.evaluation.compare import Comparison, MetricComparison, compare
from dynamicid.evaluation.compare_report import (
    as_html,
    as_json,
    as_markdown,
    check_out,
    format_difference,
    verdict,
    write_comparison,
)
from dynamicid.evaluation.compare_runs import read_runs
from dynamicid.evaluation.scoring import Row
from dynamicid.evaluation.summary import Estimate
from dynamicid.evaluation.tables import Result, make_result, write_tables

from .conftest import MOST

ONE, SEVERAL = "one person", "several people"
NOTHING = Estimate(0.0, 0.0, 0.0)
WRITTEN = ["compare.html", "compare.json", "compare.md"]
Write = Callable[..., Path]


@pytest.fixture
def write(scored: Callable[..., Result], tmp_path: Path) -> Write:
    """``write(name, rows=..., **setting)`` -> the folder of a run, like the drawn benchmark's but for what is given."""
    result = scored()

    def run(name: str, rows: Sequence[Row] = result.rows, **setting: str) -> Path:
        write_tables(make_result(replace(result.setting, **setting), rows, ()), tmp_path / name)
        return tmp_path / name

    return run


@pytest.fixture
def rows(scored: Callable[..., Result]) -> list[Row]:
    """Of the drawn benchmark; to be changed."""
    return [dict(row) for row in scored().rows]


def column(comparison: Comparison, group: str, key: str) -> MetricComparison:
    return next(metric for metric in comparison.groups[group].columns if metric.metric.key == key)


def test_a_run_does_not_differ_from_itself(scored: Callable[..., Result], write: Write):
    comparison = compare(read_runs([write("a"), write("b"), write("c")]))
    assert comparison.left_out == ((), (), ())
    assert [group.items for group in comparison.groups.values()] == [MOST[1], MOST[2] + MOST[3]]
    for name, group in comparison.groups.items():
        assert group.columns
        for one in group.columns:
            own = scored().groups[name][one.metric.key]
            assert one.items == own.items
            assert set(one.means) == {Estimate(own.mean, own.low, own.high)}
            assert one.differences == (NOTHING, NOTHING)
            assert verdict(one.metric, one.differences[0]) == ""


def test_a_run_that_is_worse_by_as_much_everywhere(write: Write, rows: list[Row]):
    for row in rows:
        row["face_sim"] -= 0.25
        row["pose_error"] += 2
    comparison = compare(read_runs([write("right"), write("worse", rows)]))
    for group in (ONE, SEVERAL):
        for key, expected in (("face_sim", -0.25), ("pose_error", 2)):
            found = column(comparison, group, key)
            (difference,) = found.differences
            assert (difference.mean, difference.low, difference.high) == pytest.approx((expected,) * 3, abs=1e-12)
            # The runs' own intervals are wide: only the pairing makes the difference's narrow.
            assert (found.means[0].high or 0) - (found.means[0].low or 0) > 0.05
            assert verdict(found.metric, difference) == "worse"
    found = column(comparison, ONE, "face_sim")
    assert format_difference(found.metric, found.differences[0]) == "-0.250 [-0.250, -0.250] worse"
    back = column(compare(read_runs([write("worse", rows), write("right")])), ONE, "face_sim")
    assert format_difference(back.metric, back.differences[0]) == "+0.250 [0.250, 0.250] better"


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("benchmark", "small.json, version 1, SHA-256 0000000000000000"),
        ("photos", "6 people, SHA-256 0000000000000000"),
        ("photos", "5 people"),
        ("face_pack", "buffalo_l"),
        ("face_pack", "drawn_faces, SHA-256 0000000000000000"),
        ("emotion_model", "enet.onnx, SHA-256 0000000000000000"),
        ("assignment", "by likeness"),
    ],
)
def test_runs_that_were_measured_otherwise_are_refused(setting: str, text: str, write: Write):
    with pytest.raises(DynamicIDError) as caught:
        read_runs([write("right"), write("other", **{setting: text})])
    called = setting.replace("_", " ")
    assert caught.value.where == "run 'other'"
    assert caught.value.found.startswith(f"Its {called}: {text}; of 'right': ")
    assert caught.value.remedy == f"Score both with the same {called}."


def test_what_does_not_change_the_numbers_may_differ(scored: Callable[..., Result], write: Write):
    setting = scored().setting
    benchmark, pack = setting.benchmark.replace("small.json", "mine.json"), f"my {setting.face_pack}"
    old = write("old", benchmark=benchmark, face_pack=pack, photos="6 people", pictures="elsewhere", clip="vit")
    plain = write("plain", emotion_model="none: no Expr")
    assert [run.name for run in read_runs([old, write("right"), plain])] == ["old", "right", "plain"]
    with pytest.raises(DynamicIDError, match="Its clip: large; of 'old': vit"):
        read_runs([old, write("right"), write("large", clip="large")])


def test_items_that_a_run_lacks_are_left_out_and_counted(write: Write, rows: list[Row]):
    items = list(dict.fromkeys(row["item"] for row in rows))
    first, last = items[0], items[-1]
    folders = [
        write("a", [row for row in rows if row["item"] != first]),
        write("b", [row for row in rows if row["item"] != last]),
        write("c"),
    ]
    comparison = compare(read_runs(folders))
    assert comparison.left_out == ((last,), (first,), (first, last))
    assert [group.items for group in comparison.groups.values()] == [MOST[1] - 1, MOST[2] + MOST[3] - 1]
    assert column(comparison, ONE, "face_sim").differences == (NOTHING, NOTHING)
    assert [list(run["left_out"]) for run in as_json(comparison)["runs"]] == [[last], [first], [first, last]]
    total = sum(MOST.values())
    assert f"| c | {total} | {total} | {total - 2} | 2 |" in as_markdown(comparison)


def test_a_group_or_everything_that_only_one_run_has(write: Write, rows: list[Row]):
    alone, together = ([row for row in rows if (row["people"] == 1) == is_one] for is_one in (True, False))
    comparison = compare(read_runs([write("right"), write("alone", alone)]))
    assert comparison.groups[ONE].items == MOST[1]
    assert (comparison.groups[SEVERAL].items, comparison.groups[SEVERAL].columns) == (0, ())
    assert "several people (items in all runs: 0)" in as_markdown(comparison)
    assert as_html(comparison).count("<svg") == 1
    with pytest.raises(DynamicIDError, match=r"Of 6 \(alone\), 6 \(together\) items, none is in all runs"):
        compare(read_runs([write("alone", alone), write("together", together)]))


def test_a_metric_is_compared_where_every_run_that_measured_it_has_it(write: Write, rows: list[Row]):
    some = [row | ({"pose_error": None, "found": 0.0} if row["item"] == rows[0]["item"] else {}) for row in rows]
    nobody = [row | {"pose_error": None, "found": 0.0} for row in rows]
    comparison = compare(read_runs([write("right"), write("some", some), write("nobody", nobody)]))
    error = column(comparison, ONE, "pose_error")
    assert error.items == MOST[1] - 1
    assert error.differences == (NOTHING, Estimate(None, None, None))
    assert error.means[2].mean is None
    assert column(comparison, ONE, "found").items == MOST[1]


def test_twice_the_same_bytes_and_nothing_from_outside(write: Write, scored: Callable[..., Result], tmp_path: Path):
    name = "<script>a|b</script> $x_1$"
    for out in ("out-1", "out-2"):
        folders = [write("right"), write("pasted", scored("pasted").rows)]
        write_comparison(compare(read_runs(folders, ["right", name])), tmp_path / out)
    assert sorted(path.name for path in (tmp_path / "out-1").iterdir()) == WRITTEN
    for file in WRITTEN:
        assert (tmp_path / "out-1" / file).read_bytes() == (tmp_path / "out-2" / file).read_bytes(), file
    page = (tmp_path / "out-1" / "compare.html").read_text(encoding="utf-8")
    for outside in ("<script", "src=", 'href="http', "url(http", "@import"):
        assert outside not in page
    assert page.count("<svg") == 2
    assert "&lt;script&gt;a|b" in page
    table = (tmp_path / "out-1" / "compare.md").read_text(encoding="utf-8")
    assert r"| <script>a\|b</script> $x_1$ | " in table
    for text in (page, table):
        assert "Share of people for whom a face was found at their place." in text
    content = json.loads((tmp_path / "out-1" / "compare.json").read_text(encoding="utf-8"))
    likeness = content["groups"][ONE]["metrics"]["face_sim"]
    assert likeness["differences"][name]["excludes_zero"]
    assert likeness["differences"][name]["mean"] > 0


def halve(folder: Path) -> None:
    path = folder / "items.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_a_column(folder: Path) -> None:
    path = folder / "items.parquet"
    pq.write_table(pq.ParquetFile(path).read().drop_columns(["face_sim"]), path)


def spoil_a_number(folder: Path) -> None:
    path = folder / "items.parquet"
    table = pq.ParquetFile(path).read()
    changed = [row | {"face_sim": float("nan")} for row in table.to_pylist()]
    pq.write_table(type(table).from_pylist(changed, schema=table.schema), path)


def change_the_table(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "table.json"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "items.parquet").unlink(), "There is no items.parquet in it."),
        (lambda folder: (folder / "table.json").unlink(), "There is no table.json in it."),
        (halve, "items.parquet: It cannot be read (Parquet magic bytes not found"),
        (lambda folder: (folder / "items.parquet").write_bytes(b""), "items.parquet: It cannot be read (Parquet file"),
        (drop_a_column, "items.parquet: It does not hold the columns and numbers"),
        (spoil_a_number, "items.parquet: It does not hold the columns and numbers"),
        (lambda folder: (folder / "table.json").write_text("[" * 100_000), "table.json: It is no table of `evaluate`"),
        (lambda folder: (folder / "table.json").write_bytes(b"\xff{"), "table.json: It is no table of `evaluate`"),
        (change_the_table('"face_pack"', '"pack"'), "(setting.face_pack: "),
        (change_the_table('"pictures": 12', '"pictures": 11'), "table.json counts 11 pictures, items.parquet 12."),
        (change_the_table("within 15 degrees", "within 20 degrees"), "Its metric Pose is not defined as in this"),
    ],
)
def test_what_is_no_finished_run_is_told(damage: Callable[[Path], None], said: str, write: Write):
    folder = write("bad")
    damage(folder)
    with pytest.raises(DynamicIDError) as caught:
        read_runs([write("right"), folder])
    assert said in str(caught.value)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_names_of_runs(write: Write):
    folders = [write("x/scores"), write("y/scores"), write("z/scores"), write("scores (2)")]
    assert [run.name for run in read_runs(folders)] == ["scores", "scores (2)", "scores (3)", "scores (2) (2)"]
    assert [run.name for run in read_runs(folders[:2], ["ours", "theirs"])] == ["ours", "theirs"]
    assert [run.name for run in read_runs(folders[:1] * 2)] == ["scores", "scores (2)"]
    for names, said in (
        (["a"], "There are 1 names for 2 runs."),
        (["a", "a"], "'a' is given twice."),
        (["a", " "], "' ' is no name that can be shown."),
        (["a", "b\n"], "no name that can be shown"),
    ):
        with pytest.raises(DynamicIDError, match="--name") as caught:
            read_runs(folders[:2], names)
        assert said in caught.value.found
    for few, said in (([], "There is no folder"), (folders[:1], "There is one folder")):
        with pytest.raises(DynamicIDError, match=said):
            read_runs(few)


def test_no_run_is_written_into(tmp_path: Path):
    run = tmp_path / "runs" / "right"
    run.mkdir(parents=True)
    (tmp_path / "link").symlink_to(run)
    check_out(tmp_path / "runs", [run])
    check_out(tmp_path / "runs" / "right-and-wrong", [run])
    for out in (run, run / "compared" / "here", tmp_path / "link", run / ".." / "right"):
        with pytest.raises(DynamicIDError, match="--out"):
            check_out(out, [tmp_path / "other", run])


def test_the_command(write: Write, scored: Callable[..., Result], tmp_path: Path):
    folders = [str(write("right")), str(write("pasted", scored("pasted").rows[2:]))]
    before = {path: path.read_bytes() for folder in folders for path in Path(folder).iterdir()}
    out = ["--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["evaluate", "compare", *folders, *out, "--name", "ours", "--name", "theirs"])
    assert done.exit_code == 0, done.output
    assert "theirs - ours" in done.output
    assert "ours: 2 of 12 items left out" in done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == WRITTEN
    for arguments in ([*folders, "--out", folders[0]], [folders[0], *out], [*folders, *out, "--name", "ours"]):
        refused = CliRunner().invoke(app, ["evaluate", "compare", *arguments])
        assert refused.exit_code == 1
        assert refused.stderr.startswith("Error: ")
    assert {path: path.read_bytes() for folder in folders for path in Path(folder).iterdir()} == before
