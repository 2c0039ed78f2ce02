"""The 96 x 96 map of landmarks."""

import numpy as np
import pytest
import torch

from dynamicid.errors import DynamicIDError
from dynamicid.faces.landmarks import keypoint_map

STEP = 512 / 96


def dots_of(points: list[tuple[float, float]]) -> set[tuple[int, int]]:
    """x, y of the white pixels, with the rest of the 106 points outside the picture."""
    landmarks = np.full((106, 2), -50.0, dtype=np.float32)
    landmarks[: len(points)] = points
    dots = keypoint_map(landmarks)
    assert dots.shape == (1, 96, 96)
    assert dots.dtype == torch.float32
    assert set(dots.unique().tolist()) <= {-1.0, 1.0}
    return {(x, y) for _, y, x in (dots == 1).nonzero().tolist()}


def test_points_become_white_pixels_at_column_x_and_row_y() -> None:
    assert dots_of([(10.5 * STEP, 20.5 * STEP), (95.5 * STEP, 1.5 * STEP)]) == {(10, 20), (95, 1)}


def test_coordinates_are_truncated_not_rounded() -> None:
    assert dots_of([(10.99 * STEP, 20.99 * STEP)]) == {(10, 20)}


@pytest.mark.parametrize(
    "point", [(0.5, 50), (50, 0.5), (0.99, 50), (96, 50), (50, 96), (-0.5, 50), (-3, 50), (50, 1e9), (50, -1e9)]
)
def test_points_outside_the_open_interval_are_dropped(point: tuple[float, float]) -> None:
    """Truncated first: 0.5 becomes 0, which is not inside (0, 96)."""
    assert dots_of([(point[0] * STEP, point[1] * STEP)]) == set()


def test_points_at_the_edges_of_the_interval_are_kept() -> None:
    assert dots_of([(1.01 * STEP, 1.01 * STEP), (95.99 * STEP, 95.99 * STEP)]) == {(1, 1), (95, 95)}


def test_tensor_and_array_give_the_same_map() -> None:
    points = np.random.Generator(np.random.PCG64(1)).uniform(-20, 540, (106, 2)).astype(np.float32)
    assert torch.equal(keypoint_map(points), keypoint_map(torch.from_numpy(points)))


@pytest.mark.parametrize("shape", [(105, 2), (106, 3), (106,), (1, 106, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DynamicIDError, match="106 points"):
        keypoint_map(np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coordinates_that_are_no_numbers_are_refused(value: float) -> None:
    points = np.zeros((106, 2))
    points[3, 1] = value
    with pytest.raises(DynamicIDError, match="finite"):
        keypoint_map(points)
