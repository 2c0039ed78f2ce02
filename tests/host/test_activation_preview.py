"""Activation maps as pictures: people keep their places, colours, numbers and steps."""

import pytest
import torch

SIZE = (96, 160)


@pytest.fixture
def record(pack):
    """Two people: the first opens at the left and early, the second at the right and late; ten steps."""
    recorder = pack.load("dynamicid.host.recorder")
    whole = pack.load("dynamicid.attention.assignment").WHOLE
    record = recorder.ActivationRecord(counts=(4, 4), enabled=True)
    for step in range(10):
        maps = torch.zeros(1, 2, 12, 20)
        maps[0, 0, :, :10] = 1 - step / 10
        maps[0, 1, :, 10:] = step / 10
        record.begin_evaluation(step)
        record.add(maps, (0,), (12, 20), whole)
    return record


@pytest.fixture
def painted(pack, record):
    """``painted(step, person)`` -> picture and mask over grey."""
    heat_map = pack.load("dynamicid.host.heat_map").heat_map
    return lambda step=-1, person=0: heat_map(record, torch.full((1, *SIZE, 3), 0.5), step, person)


def test_several_people_each_have_their_colour(pack, painted):
    colours = pack.load("dynamicid.faces.colours").PERSON_COLOURS
    picture, mask = painted(step=5)
    assert picture.shape == (1, *SIZE, 3)
    assert mask.shape == (1, *SIZE)
    for x, colour in ((20, colours[0]), (140, colours[1])):
        expected = 0.5 * 0.4 + 0.6 * torch.tensor(colour) / 255
        assert torch.allclose(picture[0, 48, x], expected, atol=1e-4)


def test_one_person_is_shown_alone(painted):
    _, mask = painted(step=0, person=1)
    assert float(mask[0, 48, 20]) == pytest.approx(1)
    assert float(mask[0, 48, 140]) == 0
    _, mask = painted(person=2)
    assert float(mask[0, 48, 140]) == pytest.approx(0.45)


def test_a_picture_of_another_batch_shows_the_mean_of_all_maps(pack):
    record = pack.load("dynamicid.host.recorder").ActivationRecord(counts=(4,), enabled=True)
    (whole,) = windows_of(pack, (0, 0, 1, 1))
    record.begin_evaluation(0)
    record.add(torch.tensor([0.2, 0.6]).reshape(2, 1, 1, 1).expand(2, 1, 4, 4), (0, 1), (4, 4), whole)
    _, mask = pack.load("dynamicid.host.heat_map").heat_map(record, torch.full((1, 32, 32, 3), 0.5), -1, 1)
    assert torch.allclose(mask, torch.full((1, 32, 32), 0.4))


def test_a_new_run_replaces_what_the_last_one_recorded(pack, record):
    (whole,) = windows_of(pack, (0, 0, 1, 1))
    record.begin_run()
    record.begin_evaluation(3)
    record.add(torch.full((1, 2, 12, 20), 0.25), (0,), (12, 20), whole)
    assert len(record.steps) == 1
    assert torch.equal(record.maps(0), torch.full((1, 2, 12, 20), 0.25))


def test_the_sheet_has_a_row_a_person_and_a_column_a_step(pack, record):
    module = pack.load("dynamicid.host.activation_sheet")
    sheet = module.activation_sheet(record, torch.full((2, *SIZE, 3), 0.5))
    tile_height, tile_width = 77, 128
    assert sheet.shape == (1, 22 + 2 * (tile_height + 2), 22 + 8 * (tile_width + 2), 3)
    red = sheet[0, :, :, 0] - sheet[0, :, :, 2]
    first = [float(red[22 + 38, 22 + column * 130 + 30]) for column in range(8)]
    second = [float(red[22 + 79 + 38, 22 + column * 130 + 100]) for column in range(8)]
    assert first[0] > 0.4
    assert second[-1] > 0.2
    assert first[0] > first[-1]
    assert second[-1] > second[0]


def test_a_sheet_of_few_steps_repeats_none(pack, record):
    module = pack.load("dynamicid.host.activation_sheet")
    del record.steps[2:]
    assert module.activation_sheet(record, torch.zeros(1, 64, 64, 3)).shape[2] == 22 + 2 * 130


def test_the_last_runs_are_kept_apart(pack):
    module = pack.load("dynamicid.host.recorder")
    record = module.ActivationRecord(counts=(4,), enabled=True)
    (whole,) = windows_of(pack, (0, 0, 1, 1))
    for run in range(module.MOST_RUNS + 1):
        record.begin_run(f"run {run}")
        record.begin_evaluation(0)
        record.add(torch.full((1, 1, 2, 2), run / 10), (0,), (2, 2), whole)
    assert record.run_of(["run 0", "no run"]).steps == []
    for run in (1, 5, module.MOST_RUNS):
        assert float(record.run_of(["no run", f"run {run}", "run 2"]).maps(0).mean()) == pytest.approx(run / 10)


def windows_of(pack, *boxes):
    window = pack.load("dynamicid.attention.assignment").Window
    return [window(*box) for box in boxes]


@pytest.mark.parametrize(
    "boxes",
    [
        [(0, 0, 1, 1)],
        [(0, 0, 1, 1), (0, 0, 0.5, 1)],
        [(0, 0, 0.5, 0.5)],
        [(0, 0, 0.5, 0.75), (0.5, 0, 0.5, 0.75)],
        [(0.25, 0.25, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5), (0, 0, 0.25, 0.25)],
    ],
)
def test_maps_are_means_wherever_areas_lie(pack, boxes):
    """Every cell is the mean of the maps that cover it; cells outside all areas are 0."""
    record = pack.load("dynamicid.host.recorder").ActivationRecord(counts=(4,), enabled=True)
    covered = torch.zeros(8, 8)
    record.begin_evaluation(None)
    for value in (0.2, 0.6):
        for window in windows_of(pack, *boxes):
            record.add(torch.full((2, 1, 4, 4), value), (0, 1), (8, 8), window)
    for x, y, width, height in boxes:
        covered[int(8 * y) : int(8 * (y + height)), int(8 * x) : int(8 * (x + width))] = 1
    assert torch.allclose(record.maps(0), 0.4 * covered.expand(2, 1, 8, 8))
    assert float(record.steps[0].weight.sum()) == 2 * 2 * sum(64 * width * height for _, _, width, height in boxes)


def test_overlapping_areas_are_averaged_by_cell(pack):
    record = pack.load("dynamicid.host.recorder").ActivationRecord(counts=(4,), enabled=True)
    record.begin_evaluation(None)
    for value, window in zip((0.9, 0.3), windows_of(pack, (0, 0, 1, 1), (0.5, 0, 0.5, 1)), strict=True):
        record.add(torch.full((1, 1, 4, 4), value), (0,), (4, 4), window)
    assert torch.allclose(record.maps(None)[0, 0, 0], torch.tensor([0.9, 0.9, 0.6, 0.6]))


@pytest.mark.parametrize("areas", [[(8, 4, 0, 0)], [(4, 4, 0, 0), (4, 4, 0, 4)], [None, (8, 4, 0, 0)]])
def test_sampling_with_areas_records_shares(areas, pack, mini_model, dynamicid, make_regions, sample, conditioning):
    """One map per step and picture in 0..1, through the host's own sampling."""
    apply = pack.load("dynamicid.host.apply")
    people = make_regions({"anna": (0.0, 0.0, 0.5, 1.0), "ben": (0.5, 0.0, 0.5, 1.0)})
    options = apply.ApplyOptions(layout_strength=0.0)
    model, record = apply.apply_dynamicid(mini_model, dynamicid, people, options, record=True)
    positive = [
        entry
        for area in areas
        for entry in conditioning("sea", **({} if area is None else {"area": area, "strength": 1}))
    ]
    sample(model, positive=positive, batch=2)
    assert len(record.steps) == 2
    assert record.maps(0).shape == (2, 2, 8, 8)
    assert 0.05 < float(record.maps(None).max()) <= 1.0001
