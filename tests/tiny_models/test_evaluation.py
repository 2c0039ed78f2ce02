"""The tiny models' evaluation: the benchmark is the same every time, and scores are what they say they are."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamicid.checkpoints import load_weights
from dynamicid.errors import DynamicIDError
from dynamicid.faces.detected import DetectedFace
from dynamicid.faces.face import Face
from dynamicid.pipeline.pipeline import DynamicIDPipeline
from dynamicid.pipeline.stable_diffusion import load_base, load_clip_vision
from dynamicid.synthetic import EXPRESSIONS, DrawnMotion, Scene, Split, people_of
from tiny_models.measure.benchmark import GROUPS, PORTRAITS, SCENES, Case, Group, make_cases
from tiny_models.measure.evaluation import BenchmarkEvaluation, Extent, Table, picture_request
from tiny_models.measure.layout_activation import PARTS, activation_by_part, parts_of_cells
from tiny_models.measure.metrics import (
    MEANINGS,
    Summary,
    differences,
    faces_at_places,
    is_pose,
    score_picture,
    summaries,
    summarise,
)
from tiny_models.measure.report import ACCURACY_LINES, Results, page, write_results, write_sheet
from tiny_models.measure.run import variants_of
from tiny_models.measure.subjects import EncodedSubject
from tiny_models.measure.token_probe import fit_probe, probe_scores
from tiny_models.measure.variants import (
    BASE_ALONE,
    CHAINED,
    FULL,
    NO_BOXES,
    NO_GATE,
    NO_IMR,
    ONE,
    SEVERAL,
    TEXT_ONLY,
    layouts,
)
from tiny_models.places import CLASSIFIERS, PICTURE_SIZE
from tiny_models.train.classifier_dataset import ClassifierPictures
from tiny_models.train.classifiers import (
    CELLS,
    Classifiers,
    FacePrediction,
    ScenePrediction,
    decode_faces,
    face_crop,
    load_classifiers,
)
from tiny_models.train.train_classifiers import make_batch

PHOTOS = np.eye(64, dtype=np.float32)
STRANGER = PHOTOS[9]


@pytest.fixture(scope="module")
def cases() -> dict[int, Case]:
    return {group.people: make_cases(group, 2)[1] for group in SCENES}


def perfect(case: Case) -> ScenePrediction:
    """Flawless predictions of a picture that shows the case as prompted."""
    values = {(one.name, one.subject): one.value for one in case.prompted}
    objects = {
        value: values["object colour", subject]
        for (name, subject), value in values.items()
        if name == "object"
    }  # fmt: skip
    faces = []
    for number, subject in enumerate(case.subjects):
        x = subject.x * PICTURE_SIZE
        pose = np.array([subject.target.pitch, subject.target.yaw])
        box = (x - 10, 40.0, x + 10, 64.0)
        faces.append(FacePrediction(box, 1.0, subject.target.expression, subject.shirt, pose, PHOTOS[number]))
    place, wall = values["place", None], values.get(("wall", None), "grey")
    return ScenePrediction(len(faces), place, wall, objects, tuple(faces))


def test_the_benchmark_is_the_same_every_time() -> None:
    for group in GROUPS.values():
        first, longer = make_cases(group, 1)[0], make_cases(group, 2)
        assert first.caption == longer[0].caption
        assert first.drawing == longer[0].drawing
        for one, other in zip(first.subjects, longer[0].subjects, strict=True):
            assert one.prompt == other.prompt
            assert np.array_equal(one.photo, other.photo)
            assert np.array_equal(one.driving_photo, other.driving_photo)
        assert first.caption != longer[1].caption
        assert [case.number for case in make_cases(group, 1, skipped=1)] == [longer[1].number]


def test_people_are_held_out_and_photos_show_another_motion() -> None:
    for group in GROUPS.values():
        for case in make_cases(group, 3):
            assert len({subject.person for subject in case.subjects}) == group.people
            for subject in case.subjects:
                assert subject.person in people_of(Split.held_out)
                assert f"a {subject.target.expression} " not in subject.photo_prompt
                assert f"an {subject.target.expression} " not in subject.photo_prompt
                assert subject.target.expression in subject.prompt


def test_the_caption_leaves_expressions_to_the_tokens(cases: dict[int, Case]) -> None:
    for case in cases.values():
        assert not any(word in case.caption for word in ("smiling", "looking"))
        assert all(one.name != "expression" for one in case.prompted)
    assert any("looking" in case.expressive_caption or "smiling" in case.expressive_caption for case in cases.values())


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_what_was_asked_for_scores_one(group: Group) -> None:
    case = make_cases(group, 1)[0]
    scores = score_picture(case, perfect(case), PHOTOS[: group.people], STRANGER)
    assert scores == dict.fromkeys(MEANINGS, 1.0)


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_an_empty_picture_scores_nothing_of_its_people(group: Group) -> None:
    case = make_cases(group, 1)[0]
    asked = {one.value for one in case.prompted if one.name == "place"}
    place = "park" if "park" not in asked else "beach"
    scores = score_picture(case, ScenePrediction(0, place, "grey", {}), PHOTOS[: group.people], STRANGER)
    assert np.isnan(scores.pop("face_sim"))
    assert set(scores.values()) == {0.0}


def test_swapped_people_are_found_but_not_assigned(cases: dict[int, Case]) -> None:
    case, prediction = cases[2], perfect(cases[2])
    left, right = prediction.faces
    swapped = (replace(left, embedding=right.embedding), replace(right, embedding=left.embedding))
    scores = score_picture(case, replace(prediction, faces=swapped), PHOTOS[:2], STRANGER)
    assert (scores["assigned"], scores["each_once"], scores["face_sim"]) == (0, 0, 0)
    assert (scores["prompt"], scores["count"], scores["expr"], scores["pose"]) == (1, 1, 1, 1)


def test_the_same_face_twice_is_assigned_once(cases: dict[int, Case]) -> None:
    case, prediction = cases[2], perfect(cases[2])
    twins = tuple(replace(face, embedding=PHOTOS[0]) for face in prediction.faces)
    scores = score_picture(case, replace(prediction, faces=twins), PHOTOS[:2], STRANGER)
    assert (scores["assigned"], scores["each_once"], scores["face_sim"]) == (0.5, 0, 0.5)


def test_a_face_like_everybody_is_assigned_to_nobody(cases: dict[int, Case]) -> None:
    case, prediction = cases[3], perfect(cases[3])
    average = np.full(64, 1 / 8, dtype=np.float32)
    same = tuple(replace(face, embedding=average) for face in prediction.faces)
    assert score_picture(case, replace(prediction, faces=same), PHOTOS[:3], STRANGER)["assigned"] == 0


def test_a_missing_person_counts_as_wrong(cases: dict[int, Case]) -> None:
    case, prediction = cases[3], perfect(cases[3])
    without = replace(prediction, people=2, faces=(prediction.faces[0], prediction.faces[2]))
    scores = score_picture(case, without, PHOTOS[:3], STRANGER)
    assert [scores[name] for name in ("expr", "pose", "assigned")] == [pytest.approx(2 / 3)] * 3
    assert (scores["face_sim"], scores["count"], scores["each_once"]) == (1, 0, 0)
    assert faces_at_places(case.subjects, without.faces)[1] is None
    assert scores["shirts"] == pytest.approx(2 / 3)


def test_pose_counts_within_the_tolerance_on_both_axes(cases: dict[int, Case]) -> None:
    subject = cases[1].subjects[0]
    wanted = np.array([subject.target.pitch, subject.target.yaw])
    for off, is_right in (((14.9, -14.9), True), ((15.1, 0), False), ((0, -15.1), False)):
        assert is_pose(wanted + np.array(off), subject) == is_right


def test_a_summary_knows_its_spread_and_leaves_gaps_out() -> None:
    scores = np.array([[1.0, 0.0, 1.0, np.nan], [0.0, 0.0, 1.0, 1.0]])
    summary = summarise(scores)
    assert summary.mean == pytest.approx(4 / 7)
    assert summary.spread == pytest.approx(np.std([2 / 3, 1 / 2], ddof=1))
    assert 0 <= summary.low <= summary.mean <= summary.high <= 1
    assert summarise(scores) == summary
    constant = summarise(np.ones((3, 5)))
    assert constant == Summary(1.0, 1.0, 1.0, 0.0)
    assert np.isnan(summarise(np.full((2, 2), np.nan)).mean)


def test_intervals_treat_the_seeds_of_a_case_as_one() -> None:
    once = np.random.default_rng(0).integers(0, 2, (1, 40)).astype(float)
    single, repeated = summarise(once), summarise(np.repeat(once, 3, axis=0))
    assert (single.low, single.high) == (repeated.low, repeated.high)


def test_orders_share_the_noise_and_nothing_else(cases: dict[int, Case]) -> None:
    case, face = cases[2], Face(torch.zeros(4, 8), torch.zeros(4, 8), torch.zeros(512))
    requests = {
        variant: picture_request(case, [face, face], variant, seed=1)
        for variant in (FULL, NO_BOXES, *layouts("slices"))
    }
    assert {request.seed for request in requests.values()} == {100_000 + case.number}
    assert [region.box_xywh_norm for region in requests[FULL].people] == [subject.box for subject in case.subjects]
    assert {region.box_xywh_norm for region in requests[NO_BOXES].people} == {(0.0, 0.0, 1.0, 1.0)}
    assert {region.box_xywh_norm for region in requests[layouts("slices")[0]].people} == {None}
    alone = picture_request(case, [None, None], TEXT_ONLY, seed=0)
    assert (alone.people, alone.text) == ((), case.expressive_caption)
    assert (NO_GATE.gate, CHAINED.gate, TEXT_ONLY.tokens) == (None, None, BASE_ALONE)


def test_faces_are_found_once_and_from_left_to_right() -> None:
    face_map = np.zeros((4, CELLS, CELLS), dtype=np.float32)
    face_map[0] = -9
    face_map[1:3] = 0.5
    face_map[3] = np.log(24)
    face_map[0, 5, 12], face_map[0, 5, 11], face_map[0, 6, 3] = 3, 2, 1
    boxes = decode_faces(face_map)
    assert [round((box[0] + box[2]) / 2) for box in boxes] == [28, 100]
    assert all(box[3] - box[1] == pytest.approx(24) for box in boxes)


def test_the_committed_classifiers_recognise_drawn_people() -> None:
    case = make_cases(GROUPS["2"], 1)[0]
    picture, annotation = case.render()
    assert isinstance(case.drawing, Scene)
    nobody, two = load_classifiers(CLASSIFIERS).predict(np.stack([np.zeros_like(picture), picture]))
    assert nobody.faces == ()
    assert (two.people, two.place) == (2, case.drawing.place)
    for face, drawn, subject in zip(two.faces, annotation.faces, case.subjects, strict=True):
        assert np.abs(np.array(face.box) - drawn.box_xyxy).max() < 5
        assert face.is_face > 0.5
        assert face.shirt == subject.shirt
        assert is_pose(face.pose, subject)


def test_crops_repeat_the_border_outside_the_picture() -> None:
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[:, :64] = 200
    crop = face_crop(picture, (-50, 100, 20, 180))
    assert crop.shape == (64, 64, 3)
    assert (crop[:, 0] == 200).all()
    assert (crop[:, -1] == 0).all()


def test_batches_of_the_classifiers_are_repeatable() -> None:
    case = make_cases(GROUPS["2"], 1)[0]
    picture, annotation = case.render()
    rows = np.zeros(2, dtype=int)
    data = ClassifierPictures(
        pictures=picture[None], scene_count=1, people=np.array([2]), place=np.array([0]), wall=np.array([-100]),
        objects=np.zeros((1, 8), int), picture=rows, box=np.array([face.box_xyxy for face in annotation.faces]),
        person=np.array([5, 6]), pose=np.zeros((2, 2)), expression=rows, shirt=rows,
    )  # fmt: skip
    made = [make_batch(data, picture[None], {5: 0, 6: 1}, np.random.default_rng(3)) for _ in range(2)]
    assert all(bool((a == b).all()) for a, b in zip(made[0][:2], made[1][:2], strict=True))
    faces = made[0].of_picture["faces"]
    assert faces[:, 0].sum(dim=(1, 2)).tolist() == [2.0] * len(faces)
    assert len(made[0].crops) == len(made[0].of_face["is_face"]) == len(made[0].of_face["shirt"])


class OneFace:
    """Finds one face in every picture."""

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        embedding = np.full(32, 32**-0.5, dtype=np.float32) * (1 if image.mean() > 120 else -1)
        landmarks = np.full((106, 2), 256, dtype=np.float32)
        return [DetectedFace((40.0, 40.0, 80.0, 90.0), 0.9, landmarks, np.zeros(3, np.float32), embedding)]


def open_small_evaluation(people: Path, work: Path) -> BenchmarkEvaluation:
    weights = load_weights(people / "trained" / "weights" / "SAA.bin")
    vision = load_clip_vision(people / "vision")
    pipeline = DynamicIDPipeline(load_base(people / "base"), vision, weights, OneFace())
    torch.manual_seed(0)
    extent = Extent(cases=3, seeds=2, steps=2, batch=4, precision="float32")
    return BenchmarkEvaluation(pipeline, Classifiers().eval(), extent, work)


def test_an_evaluation_is_repeatable_and_goes_on_where_it_stopped(people: Path, tmp_path: Path) -> None:
    first, second = (open_small_evaluation(people, tmp_path / name) for name in "ab")
    tables = [evaluation.table(GROUPS["2"], [NO_IMR, TEXT_ONLY]) for evaluation in (first, second)]
    assert repr(tables[0]) == repr(tables[1])
    assert list(tables[0].rows) == ["drawn", "no IMR", BASE_ALONE]
    painted = first.paint(NO_IMR, GROUPS["2"])
    assert painted.shape == (2, 3, 16, 16, 3)
    assert not np.array_equal(painted[0], painted[1])
    kept = sorted((tmp_path / "a").iterdir())
    np.save(kept[0], np.zeros_like(np.load(kept[0])))
    again = open_small_evaluation(people, tmp_path / "a")
    assert any(not again.paint(variant, GROUPS["2"]).any(axis=(1, 2, 3, 4)).all() for variant in (NO_IMR, TEXT_ONLY))
    assert sorted((tmp_path / "a").iterdir()) == kept


def test_only_a_picture_without_a_face_counts_as_missed(people: Path, tmp_path: Path) -> None:
    evaluation, picture = open_small_evaluation(people, tmp_path), np.zeros((128, 128, 3), np.uint8)
    assert evaluation.encoder.face_in(picture) is not None
    evaluation.pipeline.face_detector.detect = lambda image: []  # type: ignore[method-assign]
    assert evaluation.encoder.face_in(picture) is None

    def fail(image: np.ndarray) -> list[DetectedFace]:
        raise DynamicIDError("provider", "The GPU is gone.", "Start again.")

    evaluation.pipeline.face_detector.detect = fail  # type: ignore[method-assign]
    with pytest.raises(DynamicIDError, match="GPU"):
        evaluation.encoder.face_in(picture)


def test_editing_needs_an_imr(people: Path, tmp_path: Path) -> None:
    with pytest.raises(DynamicIDError, match="no IMR"):
        open_small_evaluation(people, tmp_path).paint(FULL, PORTRAITS)


def test_activations_are_told_apart_by_what_lies_there(cases: dict[int, Case]) -> None:
    scene = cases[2].drawing
    assert isinstance(scene, Scene)
    parts = parts_of_cells(scene, (32, 32))
    assert set(parts.flat) == {0, 1, 2}
    for person in scene.people:
        assert parts[int(person.y * 32), int(person.x * 32)] == PARTS.index("heads")
        assert parts[31, int(person.x * 32)] == PARTS.index("shirts")
    maps = torch.from_numpy(np.stack([parts == 0, 2.0 * (parts == 1)]).astype(np.float32))
    assert activation_by_part([scene], [maps]) == {"heads": 1.0, "shirts": 2.0, "elsewhere": 0.0}


def test_motion_is_read_off_tokens_that_hold_it() -> None:
    random = np.random.default_rng(5)
    words = tuple(EXPRESSIONS)
    spread = random.normal(size=(9, 32))

    def face_for(motion: DrawnMotion, person: np.ndarray) -> Face:
        face_map = [*(motion.expression == word for word in words), motion.pitch / 20, motion.yaw / 20]
        tokens = torch.from_numpy(np.array(face_map) @ spread + 0.1 * person).float().reshape(4, 8)
        return Face(tokens, tokens, torch.zeros(512))

    def motions(count: int) -> list[DrawnMotion]:
        chosen = random.integers(0, len(words), count)
        turns = random.uniform(-30, 30, (count, 2))
        return [
            replace(EXPRESSIONS[words[word]], pitch=pitch, yaw=yaw)
            for word, (pitch, yaw) in zip(chosen, turns, strict=True)
        ]

    seen = motions(300)
    tokens = [face_for(motion, random.normal(size=32)).id_tokens.flatten().double().numpy() for motion in seen]
    probe = fit_probe(np.stack(tokens), seen)
    sources, targets = motions(60), motions(60)
    people = random.normal(size=(60, 32))
    plain = [face_for(motion, person) for motion, person in zip(sources, people, strict=True)]
    ideal = [face_for(motion, person) for motion, person in zip(targets, people, strict=True)]
    perfect = [EncodedSubject(one, other, other, 0) for one, other in zip(plain, ideal, strict=True)]
    rows = probe_scores(probe, perfect, targets)
    assert (rows["plain"]["distance"], rows["edited"]["distance"], rows["ideal"]["distance"]) == (1, 0, 0)
    assert rows["edited"] == rows["ideal"]
    assert rows["ideal"]["expr"] > 0.9
    assert rows["ideal"]["pose"] > 0.9
    assert rows["plain"]["expr"] < 0.4
    assert rows["plain"]["pose"] < 0.5
    without = probe_scores(probe, [replace(one, edited=None) for one in perfect], targets)
    assert set(without) == {"plain", "ideal"}


def test_differences_are_those_of_the_same_pictures() -> None:
    def seed(*cosines: float) -> list[dict[str, float]]:
        return [{**dict.fromkeys(MEANINGS, 1.0), "face_sim": cosine} for cosine in cosines]

    nothing = float("nan")
    row = differences([seed(0.5, 0.9, nothing), seed(0.6, 0.2, 0.3)], [seed(0.4, 0.8, 0.7), seed(0.5, 0.1, 0.2)])
    assert row["face_sim"].mean == pytest.approx(0.1)
    assert (row["face_sim"].low, row["face_sim"].high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert row["prompt"] == Summary(0.0, 0.0, 0.0, 0.0)


def test_rows_can_be_chosen_by_name() -> None:
    assert [variant.name for variant in variants_of(GROUPS["3"], ["repainted", "full"])] == ["full", "repainted"]
    assert variants_of(PORTRAITS) == ONE


def test_the_page_names_every_row(tmp_path: Path, cases: dict[int, Case]) -> None:
    row = summaries([[dict.fromkeys(MEANINGS, 0.5)]])
    variants = {variant.name: variant.title for variant in (*ONE, *SEVERAL)}
    better = {("repainted", "full"): summaries([[dict.fromkeys(MEANINGS, 0.25)]])}
    tables = [Table(group, dict.fromkeys(["drawn", *variants], row), better, 0) for group in GROUPS.values()]
    two = GROUPS["2"]
    tokens = {PORTRAITS: {"edited": {"expr": 0.25, "pose": 0.5, "distance": 0.125}}}
    figures: dict[str, dict[str, float]] = {"drawn": {name: 0.9 for name in ACCURACY_LINES}}
    results = Results(
        Extent(), tables, {two: {"boxes 0": row}}, {two: {"boxes 2": {"heads": 2.5}}}, tokens, figures, variants
    )
    write_results(tmp_path, results)
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert (
        json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))["table"]["3"]["full"]["prompt"]["mean"] == 0.5
    )
    assert all(title in text for title in variants.values())
    assert "204 pictures a row" in text
    assert "| repainted - full | 0.250 [0.25, 0.25] ± 0.000 |" in text
    assert "are left out" not in text
    assert "The first 5 cases of each kind are left out." in page(replace(results, extent=Extent(skipped=5)))
    assert "| rewritten by the IMR | 0.250 | 0.500 | 0.125 |" in text
    picture = np.zeros((PICTURE_SIZE, PICTURE_SIZE, 3), dtype=np.uint8)
    write_sheet(tmp_path / "sheet.png", [(cases[3], {FULL: picture}), (cases[1], {FULL: picture, NO_GATE: picture})])
    assert (tmp_path / "sheet.png").stat().st_size > 1000
