"""The command from end to end on the drawn world."""

import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright
from sklearn.metrics import adjusted_rand_score
from typer.testing import CliRunner
from webdataset.compat import WebDataset

from dynamicid.cli.app import app
from dynamicid.curation import cluster, report
from dynamicid.curation.curation import open_output, report_again
from dynamicid.curation.listing import photo_id
from dynamicid.curation.removal import remove
from dynamicid.errors import DynamicIDError
from dynamicid.files.atomic import translate_io_errors
from dynamicid.training.config import DataSection
from dynamicid.training.inputs import list_inputs, read_text_beside
from tests.host.browser import find_chromium, launch
from tests.watched import foreign_connections, needs_strace

from .conftest import PEOPLE, PHOTOS, World, options, start

IN_ONE_LINE = """(selector) => [...document.querySelectorAll(selector)].every((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return range.getClientRects().length === 1;
})"""
COLUMNS = """(selector) => [...document.querySelectorAll(selector)].map(
    (grid) => [new Set([...grid.children].map((child) => child.offsetLeft)).size, grid.children.length])"""
"""Of each grid, columns and children."""


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file but the records, which tell how long things took."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".json" and path.name != "report.html"
    }


def test_people_are_recovered_without_labels(world: World):
    rows = pq.read_table(world.out / "photos.parquet").to_pylist()
    assert len(rows) >= PEOPLE * PHOTOS - 2
    truth = [row["source"].split("/")[1] for row in rows]
    assert adjusted_rand_score(truth, [row["person"] for row in rows]) >= 0.98


def test_the_layout_is_variface(world: World):
    rows = pq.read_table(world.out / "photos.parquet").to_pylist()
    folders = list_inputs(DataSection(folder=world.out / "variface", cache=world.out / "cache"), people=True)[0]
    assert [folder.name for folder in folders] == sorted({row["person"] for row in rows})
    for row in rows:
        path = world.out / "variface" / row["file"]
        with Image.open(path) as picture:
            assert picture.size == (96, 96)
        with Image.open(path.with_name(f"{path.stem}_landmark.png")) as landmarks:
            assert 80 < int((np.asarray(landmarks) == 255).sum()) <= 106
        prompt = read_text_beside(path, "face prompt")
        assert prompt == row["prompt"]
        assert prompt.startswith("in a")
        assert prompt.endswith(" view")
    assert len(list((world.out / "variface").rglob("*.*"))) == 3 * len(rows)


def test_consent_travels_into_table_and_shards(world: World):
    rows = {row["photo_id"]: row for row in pq.read_table(world.out / "photos.parquet").to_pylist()}
    shards = sorted(str(path) for path in (world.out / "shards").glob("*.tar"))
    samples = list(WebDataset(shards, shardshuffle=False))
    assert len(samples) == len(rows)
    for sample in samples:
        about = json.loads(sample["json"])
        assert (about["consent"], about["licence"]) == ("signed", "CC0")
        row = rows[about["photo_id"]]
        assert about["source"] == row["source"]
        assert sample["png"] == (world.out / "variface" / row["file"]).read_bytes()


def test_the_same_picture_again_falls_out(world: World):
    lines = [line.split("\t") for line in (world.out / "skipped.txt").read_text().splitlines()]
    twins = {source: tuple(more) for source, *more in lines if len(more) > 1}
    assert twins.pop("photos/00001/smaller.jpg") == ("face too small", "photos/00001/001.png")
    ((source, (reason, twin)),) = twins.items()
    assert reason == "the same picture again"
    assert {source, twin} == {"photos/00000/000.png", "photos/00000/copy.png"}


def test_the_report_needs_nothing_but_itself(world: World):
    page = (world.out / "report.html").read_text()
    assert page.count("<h3>") == PEOPLE
    assert "threshold 0." in page
    assert "It is the valley of the green histogram" in page
    assert "the same picture again" in page
    assert not re.search(r"(?:src|href)=.(?!data:)|url\(|<script", page)


def test_the_report_fits_a_window_of_500_pixels(world: World):
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium found: install it or set CHROMIUM_PATH")
    with sync_playwright() as playwright:
        page = launch(playwright, executable).new_page(viewport={"width": 500, "height": 900})
        page.goto((world.out / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 500
        assert page.locator("td.n").count() > 10
        assert page.evaluate(IN_ONE_LINE, "td.n")
        grids = page.evaluate(COLUMNS, ".photos")
    assert len(grids) == PEOPLE
    assert all(columns == min(photos, 6) for columns, photos in grids)


def test_the_report_shows_every_person_on_request(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "out"
    shutil.copytree(world.out, out)
    page = (out / "report.html").read_text()
    monkeypatch.setattr(report, "MOST_PEOPLE_SHOWN", 2)
    settings = open_output(out)
    kept = pq.read_table(out / "photos.parquet").to_pylist()
    assert report.write_report(settings, kept, {}).read_text().count("<h3>") == 2
    assert CliRunner().invoke(app, ["curate", "report", str(out)]).exit_code == 0
    assert (out / "report.html").read_text() == page.replace(str(world.out), str(out))
    name = kept[0]["person"]
    report_again(out, [name])
    page = (out / "report.html").read_text()
    assert (page.count("<h3>"), f"<h3>{name}</h3>" in page) == (1, True)
    assert f"1 of {PEOPLE} people" in page
    with pytest.raises(DynamicIDError, match="no person 'nobody'"):
        report_again(out, ["nobody"])


def test_killed_three_times_or_never_the_output_is_the_same(world: World, tmp_path: Path):
    assert world.kills == 3
    done = start(world.photos, *options(tmp_path / "out"), "--consent", "signed", "--licence", "CC0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(tmp_path / "out") == contents(world.out)


def test_killed_runs_leave_nothing(world: World):
    assert list(world.out.rglob(".*")) == []
    assert list(world.temporary.iterdir()) == []


@needs_strace
def test_nobody_is_reached(world: World):
    assert foreign_connections(world.connections) == []


def test_removal_leaves_nothing_behind_and_a_rerun_does_nothing_again(world: World, tmp_path: Path):
    out = tmp_path / "out"
    shutil.copytree(world.out, out)
    rows = pq.read_table(out / "photos.parquet").to_pylist()
    person = rows[-1]["person"]
    copies = [photo_id(f"photos/00000/{name}.png") for name in ("000", "copy")]
    # An interrupted search for people leaves an index.
    (out / "work" / "index").mkdir()
    (out / "work" / "index" / "stored").write_text(copies[0])
    gone = {row["photo_id"] for row in rows if row["person"] == person} | set(copies)
    count, _ = remove(out, [person], copies[:1])
    assert count == len(gone)
    left = {row["photo_id"] for row in pq.read_table(out / "photos.parquet").to_pylist()}
    assert left == {row["photo_id"] for row in rows} - gone
    assert_nowhere(out, {*gone, person})
    before = contents(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "work").rglob("part-*.parquet")}
    done = start(world.photos, *options(out), "--consent", "signed", "--licence", "CC0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(out) == before
    assert {path: path.stat().st_mtime_ns for path in (out / "work").rglob("part-*.parquet")} == times
    with pytest.raises(DynamicIDError, match="no person"):
        remove(out, [person], [])


def assert_nowhere(folder: Path, words: set[str]) -> None:
    """None of these in any name or any content, tables unpacked."""
    for path in folder.rglob("*"):
        text = path.as_posix() + (str(pq.read_table(path).to_pydict()) if path.suffix == ".parquet" else "")
        content = path.read_bytes() if path.is_file() else b""
        for word in words:
            assert word not in text, (word, path)
            assert word.encode() not in content, (word, path)


def test_a_job_that_kills_its_worker_every_time_or_fails_ends_the_run(tmp_path: Path):
    log = tmp_path / "log.txt"

    def die(_: dict) -> dict:
        with log.open("a") as file:
            file.write("died\n")
        os._exit(9)

    def find_no_room(job: dict) -> dict:
        if job["number"] == 0:
            return job
        with translate_io_errors(tmp_path / "part"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with cluster.processes(1, None):
        with pytest.raises(DynamicIDError, match="on the same part"):
            list(cluster.run_parts(die, [{"number": 0}]))
        results = cluster.run_parts(find_no_room, [{"number": 0}, {"number": 1}])
        assert next(results) == {"number": 0}
        with pytest.raises(DynamicIDError, match="The disk is full") as failed:
            next(results)
        assert failed.value.remedy == "Free some space, then run it again."
    assert len(log.read_text().splitlines()) == cluster.MOST_DEATHS + 1
