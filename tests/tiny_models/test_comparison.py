"""DynamicID beside baselines: both recognisers' numbers, what they disagree on, and what DynamicID loses at."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dynamicid.evaluation.metrics import judge_key
from dynamicid.faces.analysis import load_face_analysis
from dynamicid.pipeline.stable_diffusion import load_base
from dynamicid.pipeline.weight_export import State
from dynamicid.training.shards import open_shards
from tiny_models.measure.baselines import baseline_pipeline
from tiny_models.measure.benchmark import GROUPS, make_cases
from tiny_models.measure.comparison import ROWS, Contest, baseline_rows, contest, contest_page, own_rows, write_contests
from tiny_models.measure.evaluation import BenchmarkEvaluation, Extent
from tiny_models.measure.likeness import KEYS, NAMES, TwoRecognisers, order_disagreements
from tiny_models.measure.metrics import MEANINGS
from tiny_models.measure.variants import FULL, FULL_WORDS, NO_IMR
from tiny_models.places import CLASSIFIERS, FACE_PACK
from tiny_models.train.baselines import KINDS, Kind, make_baseline
from tiny_models.train.classifiers import load_classifiers

from ..training.small_world import saa_config
from .test_evaluation import open_small_evaluation

Rows = list[list[dict[str, float]]]


def rows(**values: float) -> Rows:
    """Two seeds of three cases; every score 0.5 but for what is given."""
    return [[{**dict.fromkeys((*MEANINGS, *KEYS), 0.5), **values} for _ in range(3)] for _ in range(2)]


def test_both_recognisers_know_the_drawn_people() -> None:
    recognisers = TwoRecognisers(load_classifiers(CLASSIFIERS), load_face_analysis(FACE_PACK))
    case = make_cases(GROUPS["2"], 1)[0]
    drawn = case.render()[0]
    scores = recognisers.score(case, drawn)
    assert set(scores) == set(KEYS)
    for key in ("face_sim", judge_key("face_sim", 1)):
        assert scores[key] > 0.4
    assert scores["face_sim"] != scores[judge_key("face_sim", 1)]
    assert scores["agree"] == scores["assigned"] == scores["each_once"] == 1
    for key in ("copy_paste", judge_key("copy_paste", 1)):
        assert scores[key] == pytest.approx(-1, abs=0.02)
    grey = recognisers.score(case, np.full_like(drawn, 128))
    assert (grey["face_sim"], grey["sim_gt"], grey["each_once"]) == (0, 0, 0)
    assert np.isnan(grey["copy_paste"])


def test_an_inverted_order_of_rows_is_told() -> None:
    other = judge_key("face_sim", 1)
    table = {"a": rows(), "b": rows(face_sim=0.6), "c": rows(face_sim=0.6, **{other: 0.4})}
    (text,) = [text for text in order_disagreements(table) if "'a' less 'c'" in text]
    assert text == "FaceSim: 'a' less 'c' is -0.100 by the readers and +0.100 by the face pack"
    assert len(order_disagreements(table)) == 1


def test_the_page_says_first_where_dynamicid_is_not_better(tmp_path: Path) -> None:
    nothing = {"agree": float("nan")}
    better = {name: 0.9 for name in (*MEANINGS, *KEYS)} | nothing
    better |= {key: 0.1 for key in KEYS if key.startswith("copy_paste")}
    plain, worded = baseline_rows("faceid")
    variants = {variant.name: variant for variant in (FULL, FULL_WORDS, plain, worded)}
    baseline = rows(**nothing)
    scores = {
        FULL.name: rows(**{**better, "pose": 0.5}),
        FULL_WORDS.name: rows(**{**better, "prompt": 0.5}),
        plain.name: baseline,
        worded.name: baseline,
    }
    one = Contest(GROUPS["2"], variants, scores, scores, [plain.name, worded.name])
    losses = [
        f"{GROUPS['2'].title}, 'DynamicID' against 'faceid': Pose.",
        f"{GROUPS['2'].title}, 'DynamicID' against 'faceid, words': Pose.",
        f"{GROUPS['2'].title}, 'DynamicID, words' against 'faceid, words': prompt.",
    ]
    assert one.not_better() == losses
    write_contests(tmp_path, Extent(), [one])
    lines = (tmp_path / "baselines.md").read_text(encoding="utf-8").splitlines()
    assert lines[4:7] == [f"- {text}" for text in losses]
    assert all(any(name in line for line in lines) for name in NAMES.values())
    content = json.loads((tmp_path / "baselines.json").read_text(encoding="utf-8"))["differences"]["2"]
    assert content["DynamicID - faceid"]["copy_paste"]["mean"] == pytest.approx(-0.4)
    assert content["DynamicID, words - faceid, words"]["prompt"]["mean"] == pytest.approx(0.0)
    best = {**scores, FULL.name: rows(**better), FULL_WORDS.name: rows(**better)}
    assert "nothing." in contest_page(Extent(), [replace(one, scores=best, likenesses=best)])


def test_every_group_has_dynamicid_with_and_without_words() -> None:
    for group in GROUPS.values():
        assert [variant.name for variant in own_rows(group, ROWS)] == list(ROWS)
    assert [variant.name for variant in own_rows(GROUPS["3"], ["chained", "full, words"])] == ["chained", "full, words"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_paints_the_benchmark(kind: Kind, people: Path, tmp_path: Path) -> None:
    whole = open_small_evaluation(people, tmp_path)
    config = saa_config(people, "trained")
    model = make_baseline(kind, load_base(people / "base").unet, config, open_shards(config.data.cache, "saa"))
    trained = model.state_dict()

    def evaluation_of(trained: State) -> BenchmarkEvaluation:
        pipeline = baseline_pipeline(whole.pipeline, model.projector, trained)
        return BenchmarkEvaluation(pipeline, whole.classifiers, whole.extent, tmp_path)

    rival = evaluation_of(trained)
    row, worded = (replace(one, base_only_steps=0) for one in baseline_rows(kind))
    group, entries = GROUPS["2"], [(whole, replace(NO_IMR, base_only_steps=0)), (rival, row), (rival, worded)]
    recognisers = TwoRecognisers(whole.classifiers, whole.pipeline.face_detector)
    found = contest(group, entries, recognisers, [row.name, worded.name])
    assert list(found.variants) == [NO_IMR.name, kind, f"{kind}, words"]
    painted = [evaluation.paint(variant, group) for evaluation, variant in entries]
    assert not np.array_equal(painted[0], painted[1])
    assert np.array_equal(rival.paint(row, group), painted[1])
    retrained = {name: 2 * tensor if name.startswith("layers.") else tensor for name, tensor in trained.items()}
    assert not np.array_equal(evaluation_of(retrained).paint(row, group), painted[1])
