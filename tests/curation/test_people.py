"""People found in many photos: the threshold, the index and its jobs."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from ray import cloudpickle
from sklearn.metrics import adjusted_rand_score

from dynamicid.curation import cluster, neighbours, people
from dynamicid.curation.grouping import group
from dynamicid.curation.measuring import EMBEDDING_WIDTH
from dynamicid.curation.neighbours import NEIGHBOURS, Index, nearest, nearest_of_each
from dynamicid.curation.parts import part_path, write_record
from dynamicid.curation.people import INDEX_NAME, find_groups, find_people, read_grouping
from dynamicid.curation.settings import Settings, check, parse_threshold
from dynamicid.curation.threshold import BINS, find_valley, merge_histogram
from dynamicid.errors import DynamicIDError
from dynamicid.files.tables import Row, write_table

PART = 100


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def photos_of(count: int, photos: int, alike: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings in random order, and whose they are; the fewer ways to be different, the more look alike."""
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(EMBEDDING_WIDTH, alike + 24)))[0].T
    truth = random.permutation(np.repeat(np.arange(count), photos))
    person = unit(random.normal(size=(count, alike)))[truth]
    photo = unit(random.normal(size=(len(truth), 24)))
    return unit(np.concatenate([0.6**0.5 * person, 0.4**0.5 * photo], axis=1) @ axes), truth


def measured(folder: Path, vectors: np.ndarray, **changes) -> Settings:
    """Settings of a run whose photos have these embeddings; every tenth row of a part was rejected."""
    settings = Settings(**{"out": folder, "inputs": (), "face_pack": folder, **changes})
    for number, start in enumerate(range(0, len(vectors), PART)):
        part = vectors[start : start + PART]
        rows = {"photo_id": [], "reason": [], "embedding": []}
        for i, vector in enumerate(part):
            if i % 10 == 0:
                rows = {name: [*rows[name], value] for name, value in zip(rows, ("x", "blurred", None), strict=True)}
            # The order of the ids is not that of the rows.
            for name, value in zip(rows, (f"{(7919 * (start + i)) % 100_003:06d}", "", vector), strict=True):
                rows[name].append(value)
        kinds = (pa.string(), pa.string(), pa.list_(pa.float32(), EMBEDDING_WIDTH))
        path = part_path(settings.work, "measured", number)
        columns = {name: pa.array(rows[name], kind) for name, kind in zip(rows, kinds, strict=True)}
        write_table(path, pa.table(columns))
        write_record(path, str(number), len(part), 0.0)
    return settings


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Sets above 300 vectors are searched by an index; the jobs that ran: here, but pickled as Ray does."""
    done: list[Row] = []

    def run_parts(work: Callable[[Row], Row], rows: Sequence[Row], gpus: float = 0.0) -> Iterator[Row]:
        pickled = cloudpickle.dumps(work)  # pyright: ignore[reportPrivateImportUsage]
        assert len(pickled) < 20_000
        for row in pa.Table.from_pylist(list(rows)).to_pylist() if rows else ():
            result = cloudpickle.loads(pickled)(row)
            assert result
            done.append(row)
            yield result

    monkeypatch.setattr(cluster, "run_parts", run_parts)
    monkeypatch.setattr(neighbours, "EXACT_MOST", 300)
    monkeypatch.setattr(neighbours, "STORE_PHOTOS", 500)
    monkeypatch.setattr(neighbours, "SEARCH_PHOTOS", 400)
    monkeypatch.setattr(people, "REGION_PHOTOS", 600)
    return done


def test_the_valley_lies_between_people_and_their_photos():
    vectors, truth = photos_of(40, 20, alike=16)
    valley = find_valley(merge_histogram(vectors))
    assert valley is not None
    scores = [adjusted_rand_score(truth, group(vectors, value)) for value in np.arange(0.3, 0.62, 0.02)]
    assert adjusted_rand_score(truth, group(vectors, valley)) >= max(scores) - 0.02
    assert max(scores) - scores[2] >= 0.1


@pytest.mark.parametrize("vectors", [photos_of(1, 200)[0], unit(np.random.default_rng(0).normal(size=(200, 512)))])
def test_without_people_that_differ_there_is_no_valley(vectors: np.ndarray):
    assert find_valley(merge_histogram(vectors)) is None
    assert find_valley(merge_histogram(vectors[:1])) is None


def test_the_minimum_of_two_maxima():
    places = (np.arange(BINS) + 0.5) / BINS * 2 - 1
    two = np.exp(-(((places - 0.1) / 0.08) ** 2)) + np.exp(-(((places - 0.7) / 0.08) ** 2))
    assert find_valley(two) == pytest.approx(0.4, abs=0.02)
    assert find_valley(np.random.default_rng(0).poisson(200 * two)) == pytest.approx(0.4, abs=0.1)
    assert find_valley(two + 2) is None


def test_a_given_threshold_wins_and_others_are_refused(tmp_path: Path):
    vectors = photos_of(6, 6)[0]
    auto = find_groups(measured(tmp_path / "a", vectors))[2]
    assert (auto.origin, sum(auto.histogram) > 0, auto.lists) == ("valley", True, 0)
    given = find_groups(measured(tmp_path / "b", vectors, threshold=parse_threshold("0.3")))[2]
    assert (given.threshold, given.origin, given.histogram) == (0.3, "given", ())
    alone = find_groups(measured(tmp_path / "c", vectors[:1]))[2]
    assert (alone.threshold, alone.origin) == (0.35, "default")
    with pytest.raises(DynamicIDError, match="no cosine"):
        parse_threshold("high")
    with pytest.raises(DynamicIDError, match="no cosine"):
        check(Settings(tmp_path, (tmp_path,), tmp_path, threshold=float("nan")))


def test_the_recall_of_the_index_is_as_measured(tmp_path: Path):
    vectors, _ = photos_of(60, 50)
    index = Index(tmp_path, len(vectors))
    index.train(lambda: iter([vectors[:1000], vectors[1000:]]))
    index.store(0, 0, vectors[:2000])
    index.store(1, 2000, vectors[2000:])
    assert index.sizes().sum() == len(vectors)
    probes, recall = index.recall()
    assert 1 <= probes < index.lists / 4
    near = index.search(vectors, probes)[1]
    exact = nearest(vectors, vectors, NEIGHBOURS + 1)[1]
    found = np.mean([len(set(a) & set(b) - {i}) / NEIGHBOURS for i, (a, b) in enumerate(zip(near, exact, strict=True))])
    assert recall >= 0.99
    assert found == pytest.approx(recall, abs=0.003)
    numbers, stored = index.vectors_of(3, 9)
    assert (stored == vectors[numbers]).all()


def test_very_many_groups_are_compared_by_an_index(monkeypatch: pytest.MonkeyPatch):
    vectors, _ = photos_of(60, 50)
    exact = nearest_of_each(vectors)
    monkeypatch.setattr(neighbours, "EXACT_MOST", 1000)
    near = nearest_of_each(vectors)
    assert not np.array_equal(near[1], exact[1])
    assert np.mean([len(set(a) & set(b)) for a, b in zip(near[1], exact[1], strict=True)]) > 0.99 * (NEIGHBOURS + 1)


def test_the_jobs_find_the_same_people(tmp_path: Path, jobs: list[Row]):
    vectors, truth = photos_of(60, 50)
    settings = measured(tmp_path, vectors)
    rows = find_people(settings)
    about = read_grouping(settings)
    assert [row["photo_id"] for row in rows] == sorted(row["photo_id"] for row in rows)
    order = np.argsort([f"{(7919 * i) % 100_003:06d}" for i in range(len(vectors))])
    found = [row["person"] for row in rows]
    assert adjusted_rand_score(truth[order], found) >= 0.98
    assert adjusted_rand_score(group(vectors, about.threshold)[order], found) >= 0.98
    assert (about.origin, about.lists) == ("valley", Index(tmp_path, len(vectors)).lists)
    assert about.recall >= 0.99
    assert len(jobs) == 1 + 6 + 4 + 8
    assert not (settings.work / INDEX_NAME).exists()


def test_a_killed_run_continues_with_the_jobs_that_are_left(
    tmp_path: Path, jobs: list[Row], monkeypatch: pytest.MonkeyPatch
):
    vectors, _ = photos_of(60, 50)
    whole = find_people(measured(tmp_path / "whole", vectors))
    count, settings = len(jobs), measured(tmp_path / "killed", vectors)
    jobs.clear()
    run_parts = cluster.run_parts

    def dying(work: Callable[[Row], Row], rows: Sequence[Row], gpus: float = 0.0) -> Iterator[Row]:
        for result in run_parts(work, rows, gpus):
            yield result
            if len(jobs) in (1, 4, 18):
                raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "run_parts", dying)
    for done in (1, 4, 18):
        with pytest.raises(KeyboardInterrupt):
            find_people(settings)
        assert len(jobs) == done
    assert find_people(settings) == whole
    assert len(jobs) == count
    find_people(measured(tmp_path / "killed", vectors[:2000]))
    assert len(jobs) > count
