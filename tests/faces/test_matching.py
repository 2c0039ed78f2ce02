"""Which face belongs to whom."""

import numpy as np
import torch

from dynamicid.faces.matching import assign_by_likeness, assign_by_place


def test_faces_find_their_places():
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)
    assert assign_by_place([left, right], [(0.8, 0.4), (0.2, 0.4)]) == [1, 0]
    assert assign_by_place([left, right], [(0.8, 0.4)]) == [None, 0]
    assert assign_by_place([left, right], [(0.7, 0.5), (0.9, 0.5)]) == [None, 0]
    assert assign_by_place([left, right], []) == [None, None]
    assert assign_by_likeness(np.array([[0.9, 0.8], [0.8, 0.1]])) == [1, 0]
    assert assign_by_likeness(np.zeros((2, 0))) == [None, None]


def test_places_may_be_masks():
    mask = torch.zeros(20, 40)
    mask[:, :10] = mask[:, 30:] = 0.5  # Its middle lies outside of it.
    assert assign_by_place([mask], [(0.5, 0.5)]) == [None]
    assert assign_by_place([mask], [(0.5, 0.5), (0.9, 0.5)]) == [1]
    heavy_left = mask.clone()
    heavy_left[:, :10] = 1.0
    assert assign_by_place([heavy_left], [(0.76, 0.5), (0.2, 0.5)]) == [1]
    assert assign_by_place([mask], [(1.0, 0.5), (0.1, -0.2)]) == [None]
    low = torch.zeros(40, 20)
    low[20:] = 1.0
    assert assign_by_place([low], [(0.5, 0.55), (0.5, 0.8)]) == [1]
