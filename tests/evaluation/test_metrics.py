"""The sums behind the metrics, each by itself."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dynamicid.boxes import BoxXywhNorm
from dynamicid.errors import DynamicIDError
from dynamicid.evaluation.benchmark import Item
from dynamicid.evaluation.image_metrics import PromptFit, background_mask, disturbance
from dynamicid.evaluation.measures import (
    Columns,
    Sight,
    compare_recognisers,
    copy_paste,
    measure_expression,
    measure_likeness,
    measure_people,
)
from dynamicid.evaluation.scoring import Row
from dynamicid.evaluation.summary import (
    Estimate,
    MetricSummary,
    format_estimate,
    format_summary,
    item_values,
    summarise,
)
from dynamicid.faces.detected import DetectedFace
from dynamicid.files.skipped import BadSample, printable

from .conftest import WEIGHTS


def test_names_can_be_printed():
    assert printable("für\n\udcff.png") == "für\\n\\udcff.png"


def test_expressions():
    probabilities = np.array([0.1, 0.6, 0.1, 0.05, 0.05, 0.05, 0.05], dtype=np.float32)
    found = measure_expression("happy", probabilities)
    assert (found["expr"], found["read_expression"]) == (0.0, "surprise")
    assert found["expr_probability"] == pytest.approx(0.1)
    assert measure_expression("surprise", probabilities)["expr"] == 1.0
    assert measure_expression("surprise", None)["expr"] == 0.0


def test_disturbance_looks_at_the_background_only():
    random = np.random.default_rng(0)
    picture = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = background_mask((64, 64), [(0.0, 0.0, 0.5, 1.0)], [(40.0, 20.0, 48.0, 28.0)])
    assert not mask[:, :32].any()
    assert not mask[16:32, 36:52].any()
    assert mask[0, 60]
    other = picture.copy()
    other[:, :20] = 0
    assert disturbance(picture, picture, mask) == pytest.approx(0, abs=1e-6)
    assert disturbance(picture, other, mask) == pytest.approx(0, abs=1e-6)
    assert (disturbance(picture, 255 - picture, mask) or 0) > 0.5
    assert disturbance(picture, other, np.zeros((64, 64), dtype=bool)) is None
    with pytest.raises(BadSample):
        disturbance(picture, picture[:32], mask)


def face(x: float, embedding: list[float], pitch: float = 0.0, yaw: float = 0.0) -> DetectedFace:
    """A face whose middle lies at a share ``x`` of the width of a picture of 100 x 100 pixels."""
    box = (100 * x - 5, 40.0, 100 * x + 5, 60.0)
    return DetectedFace(box, 0.9, np.zeros((106, 2)), np.array([pitch, yaw, 40.0]), np.array(embedding))


def item_of(*boxes: BoxXywhNorm, pitch: float = 0.0, yaw: float = 0.0) -> Item:
    people = [
        {"person": f"p{place}", "box": box, "expression": "sad", "pitch": pitch, "yaw": yaw, "face_prompt": "sad"}
        for place, box in enumerate(boxes)
    ]
    return Item.model_validate({"item": "a", "prompt": "b", "seed": 0, "people": people})


LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)
PHOTOS = np.eye(2, 3)


def test_each_person_is_measured_by_the_face_in_their_box():
    faces = [face(0.2, [0.6, 0.3, 0.0]), face(0.8, [0.4, 0.5, 0.0])]
    left, right = measure_people(item_of(LEFT, RIGHT), Sight(faces, (100, 100), PHOTOS), "boxes")
    assert (left["face"], left["face_sim"], left["leakage"]) == (0, 0.6, 0.3)
    assert (right["face"], right["face_sim"], right["leakage"]) == (1, 0.5, 0.4)
    assert [row["margin"] for row in (left, right)] == pytest.approx([0.3, 0.1])
    assert [row["assigned"] for row in (left, right)] == [1.0, 1.0]
    assert [row["best"] for row in (left, right)] == [0.6, 0.5]


def test_swapped_people_are_assigned_wrong():
    faces = [face(0.2, [0.1, 0.9, 0.0]), face(0.8, [0.8, 0.2, 0.0])]
    rows = measure_people(item_of(LEFT, RIGHT), Sight(faces, (100, 100), PHOTOS), "boxes")
    assert [(row["face"], row["assigned"], row["face_sim"]) for row in rows] == [(0, 0.0, 0.1), (1, 0.0, 0.2)]
    by_likeness = measure_people(item_of(LEFT, RIGHT), Sight(faces, (100, 100), PHOTOS), "likeness")
    assert [(row["face"], row["assigned"], row["face_sim"]) for row in by_likeness] == [(1, None, 0.8), (0, None, 0.9)]


def test_a_missing_face_counts_as_0_and_has_no_pose_error():
    rows = measure_people(item_of(LEFT, RIGHT), Sight([face(0.2, [0.7, 0.1, 0.0])], (100, 100), PHOTOS), "boxes")
    missing = {"face": None, "found": 0.0, "face_sim": 0.0, "pose": 0.0, "assigned": 0.0, "best": 0.1}
    assert missing.items() <= rows[1].items()
    assert (rows[1]["pose_error"], rows[1]["leakage"], rows[1]["margin"]) == (None, None, None)
    assert rows[0]["found"] == 1.0


def test_a_person_alone_gets_the_most_similar_face_wherever_it_is():
    faces = [face(0.2, [0.1, 0.0, 0.0]), face(0.8, [0.7, 0.0, 0.0])]
    (row,) = measure_people(item_of(LEFT), Sight(faces, (100, 100), PHOTOS[:1]), "boxes")
    assert (row["face"], row["face_sim"]) == (1, 0.7)
    assert (row["assigned"], row["leakage"], row["margin"]) == (None, None, None)


@pytest.mark.parametrize(
    ("pitch", "yaw", "error", "is_right"),
    [(10, -20, 0, 1), (25, -20, 15, 1), (10, -35, 15, 1), (-6, -20, 16, 0), (10, -4, 16, 0), (0, 0, 20, 0)],
)
def test_the_pose_is_right_within_15_degrees_in_pitch_and_yaw(pitch: float, yaw: float, error: float, is_right: float):
    item = item_of(LEFT, pitch=10, yaw=-20)
    (row,) = measure_people(item, Sight([face(0.2, [1.0, 0.0, 0.0], pitch, yaw)], (100, 100), PHOTOS[:1]), "boxes")
    assert (row["pose_error"], row["pose"], row["read_pitch"], row["read_yaw"]) == (error, is_right, pitch, yaw)


def rows_of(values: Sequence[float] | np.ndarray, seeds: int = 1) -> list[Row]:
    return [{"item": f"i{n}", "seed": seed, "x": float(v)} for n, v in enumerate(values) for seed in range(seeds)]


def test_the_interval_is_that_of_the_mean_over_items():
    values = np.random.default_rng(1).normal(0.5, 0.1, 100)
    summary = summarise(rows_of(values, seeds=2), "x")
    assert summary == summarise(rows_of(values, seeds=2), "x")
    assert summary.low is not None
    assert summary.high is not None
    assert summary.mean == pytest.approx(values.mean())
    assert summary.spread == pytest.approx(values.std(ddof=1), rel=1e-9)
    # The seeds of one item hold the same value twice; they must not make the interval narrower.
    assert summary.high - summary.low == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.15)
    assert (summary.items, summary.pictures) == (100, 200)
    assert summarise([{"item": "a", "seed": 0, "x": None}], "x").mean is None


def test_the_interval_of_few_items_is_as_wide_as_students():
    """The bootstrap's deviation is that with 1 / n, so Student's quantile is reached up to a few percent."""
    values = np.random.default_rng(2).normal(0.0, 1.0, 6)
    summary = summarise(rows_of(values), "x")
    assert summary.low is not None
    assert summary.high is not None
    student = 2 * 2.571 * values.std(ddof=1) / np.sqrt(6)
    normal = 2 * 1.96 * values.std() / np.sqrt(6)
    assert summary.high - summary.low == pytest.approx(student, rel=0.1)
    assert summary.high - summary.low > 1.3 * normal


def test_an_items_value_is_the_mean_over_its_people_and_seeds():
    rows = [{"item": "a", "seed": 0, "x": 0.0}, {"item": "a", "seed": 0, "x": 1.0}, {"item": "b", "seed": 0, "x": 1.0}]
    assert item_values([*rows, {"item": "c", "seed": 0, "x": None}], "x") == {"a": 0.5, "b": 1.0}
    summary = summarise(rows, "x")
    assert (summary.mean, summary.items, summary.pictures) == (0.75, 2, 2)


def test_estimates_as_text():
    assert format_estimate(Estimate(0.6714, 0.65, 0.69)) == "0.671 [0.650, 0.690]"
    assert format_estimate(Estimate(0.03, 0.01, 0.05), is_difference=True) == "+0.030 [0.010, 0.050]"
    assert format_estimate(Estimate(-0.0001, -0.0002, 0.0)) == "0.000 [0.000, 0.000]"
    assert format_estimate(Estimate(0.5, None, None)) == "0.500 (one item)"
    assert format_estimate(Estimate(None, None, None)) == "-"
    assert format_summary(MetricSummary(0.5, 0.4, 0.6, 0.1, 3, 3)) == "0.500 [0.400, 0.600] ± 0.100"


def test_clip_t_is_the_cosine(tmp_path: Path):
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "base" / "tokenizer")
    words = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    words |= {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    eyes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = CLIPConfig(text_config=words, vision_config={**eyes, "image_size": 32, "patch_size": 8}, projection_dim=16)
    size = {"height": 32, "width": 32}
    processor = CLIPProcessor(CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size), tokenizer)
    model = CLIPModel(config).eval()
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    picture = np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    prompt = "a photo of a person at the beach"
    inputs = processor(text=[prompt], images=[torch.from_numpy(picture).permute(2, 0, 1)], return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
        cosine = float((outputs.image_embeds * outputs.text_embeds).sum())
    prompt_fit = PromptFit(tmp_path)
    assert prompt_fit.score(picture, prompt) == pytest.approx(max(cosine, 0), abs=1e-5)
    assert prompt_fit.score(picture, prompt) == prompt_fit.score(picture, prompt)
    with pytest.raises(DynamicIDError, match=r"There is no config\.json"):
        PromptFit(tmp_path / "missing")


def angled(degrees: float) -> np.ndarray:
    """(3,) in the plane of the first two people."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0.0])


@pytest.mark.parametrize(("painted", "expected"), [(0, 1), (60, -1), (30, 0), (15, 0.5), (-30, 1), (90, -1)])
def test_copy_paste_is_the_difference_of_angles_over_the_angle_between(painted: float, expected: float):
    assert copy_paste(angled(painted), angled(60), angled(0)) == pytest.approx(expected)
    assert copy_paste(angled(painted), angled(0), angled(0)) is None


def seen(faces: Sequence[DetectedFace], truth: Sequence[np.ndarray | None] = ()) -> list[Columns]:
    """Of two people by place."""
    return measure_likeness([LEFT, RIGHT], Sight(faces, (100, 100), PHOTOS, truth), "boxes")


def test_the_ground_truth_counts_for_whom_it_shows():
    faces = [face(0.2, [1.0, 0.0, 0.0])]
    left, right = seen(faces, [angled(60), None])
    assert (left["sim_gt"], left["copy_paste"]) == (pytest.approx(0.5), pytest.approx(1))
    assert (right["sim_gt"], right["copy_paste"]) == (None, None)
    assert [(row["sim_gt"], row["copy_paste"]) for row in seen([], [angled(60), None])] == [(0.0, None), (None, None)]
    assert seen(faces)[0]["sim_gt"] is None


def test_hungarian_likeness_looks_everywhere():
    swapped = [face(0.2, [0.1, 0.9, 0.0]), face(0.8, [0.8, 0.2, 0.0])]
    assert [(row["face_sim"], row["hungarian"]) for row in seen(swapped)] == [(0.1, 0.8), (0.2, 0.9)]
    assert [row["hungarian"] for row in seen(swapped[:1])] == [0.0, 0.9]


@pytest.mark.parametrize(
    ("embeddings", "count", "once"),
    [
        ([[0.9, 0, 0], [0, 0.8, 0]], 1, 1),
        ([[0.1, 0.9, 0], [0.8, 0.2, 0]], 1, 1),
        ([[0.9, 0, 0], [0.8, 0.2, 0]], 1, 0),
        ([[0.9, 0, 0], [0, 0.8, 0], [0.5, 0, 0]], 0, 0),
        ([[0.9, 0, 0]], 0, 0),
        ([], 0, 0),
    ],
)
def test_people_right_and_each_once(embeddings: list[list[float]], count: float, once: float):
    faces = [face(0.2 + 0.3 * place, embedding) for place, embedding in enumerate(embeddings)]
    assert {(row["count"], row["each_once"]) for row in seen(faces)} == {(count, once)}


def test_judges_give_their_own_numbers_a_mean_and_say_whether_they_agree():
    pack = seen([face(0.2, [0.9, 0.1, 0.0]), face(0.8, [0.2, 0.5, 0.0])])
    judge = seen([face(0.2, [0.3, 0.4, 0.0]), face(0.8, [0.1, 0.7, 0.0])])
    left, right = compare_recognisers(pack, [judge])
    assert (left["face_sim_judge_1"], left["face_sim_mean"]) == (0.3, pytest.approx(0.6))
    assert (left["agree"], right["agree"]) == (0.0, 1.0)
    assert left["sim_gt_mean"] is None
    blind = compare_recognisers(pack, [judge, seen([])])
    assert (blind[0]["face_sim_judge_2"], blind[0]["agree"]) == (0.0, None)
    assert compare_recognisers(pack, []) == [{}, {}]
