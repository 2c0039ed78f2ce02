"""Contact sheets: every picture whole, in its place, with its label below."""

import numpy as np
import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.faces.contact_sheet import contact_sheet


def pictures(count, height=40, width=64):
    return np.stack([np.full((height, width, 3), 60 + 20 * i, np.uint8) for i in range(count)])


def places(sheet, value):
    """Left, top, right, bottom of the pixels with a value."""
    y, x = np.nonzero((sheet == value).all(axis=-1))
    return x.min(), y.min(), x.max() + 1, y.max() + 1


def test_pictures_lie_row_after_row_with_labels_below():
    sheet = contact_sheet(pictures(5), ["one", "two", "three", "four", "a label that is far too long for it"], 2)
    corners = [places(sheet, 60 + 20 * i) for i in range(5)]
    assert all((right - left, bottom - top) == (64, 40) for left, top, right, bottom in corners)
    assert [corner[0] for corner in corners] == [2, 68, 2, 68, 2]
    assert corners[0][1] == corners[1][1] < corners[2][1] == corners[3][1] < corners[4][1]
    for left, _, right, bottom in corners:
        strip = sheet[bottom : bottom + 16, left:right]
        assert strip.max() > 150
    empty = sheet[corners[4][1] :, 68:]
    assert len(np.unique(empty)) == 2  # background only


def test_a_sheet_without_labels_is_nearly_square():
    assert contact_sheet(pictures(7), [], 0).shape == (3 * 42 + 2, 3 * 66 + 2, 3)
    assert contact_sheet(pictures(2), [], 64).shape == (44, 2 * 66 + 2, 3)


def test_another_number_of_labels_is_an_error():
    with pytest.raises(DynamicIDError, match="labels: There are 2 lines for 3 pictures"):
        contact_sheet(pictures(3), ["a", "b"], 0)
    with pytest.raises(DynamicIDError, match="columns: 65 is out of range"):
        contact_sheet(pictures(3), [], 65)


def test_pictures_narrower_than_a_letter_have_no_label():
    assert contact_sheet(np.zeros((1, 40, 3, 3), dtype=np.uint8), ["happy"], 0).shape == (40 + 16 + 4, 3 + 4, 3)
