"""Mean activation of the identity branch on heads, on shirts and elsewhere, at several layout strengths.

The layout rule adds its strength to the activation of every cell of a box, whatever the cell shows. These means show
how much of it acts outside faces.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from dynamicid.synthetic import Scene

from .benchmark import Group
from .evaluation import BenchmarkEvaluation
from .variants import Places, layout

PARTS = ("heads", "shirts", "elsewhere")
STRENGTHS = (0.0, 1.0, 2.0, 4.0)
_HEAD, _NECK, _SHOULDERS = 1.15, 1.4, 1.25
"""In head units: half of a head's box, how far below its middle the shirt begins, half of the shoulders' width."""


def layout_activation(
    evaluation: BenchmarkEvaluation, group: Group, places: Sequence[Places], cases: int, has_imr: bool = True
) -> dict[str, dict[str, float]]:
    """Mean activation a' by part of the picture while the layout strength acts: "boxes 2" -> "heads" -> mean.

    Args:
        evaluation: The loaded models.
        group: Scenes of two or three.
        places: Kinds of boxes.
        cases: Number of cases.
        has_imr: Whether the faces are edited.
    """
    means = {}
    for place in places:
        for strength in STRENGTHS:
            variant = layout(place, strength, 1.0)
            scenes, maps = evaluation.activations(variant if has_imr else variant.without_imr(), group, cases)
            means[f"{place} {strength:g}"] = activation_by_part(scenes, maps)
    return means


def activation_by_part(scenes: Sequence[Scene], maps: Sequence[Tensor]) -> dict[str, float]:
    """Mean of all people's activation in each of PARTS.

    Args:
        scenes: The painted scenes.
        maps: (N, h, w) of each.
    """
    sums, cells = np.zeros(len(PARTS)), np.zeros(len(PARTS))
    for scene, activation in zip(scenes, maps, strict=True):
        whole = activation.sum(dim=0).numpy()
        parts = parts_of_cells(scene, whole.shape)
        for number in range(len(PARTS)):
            sums[number] += whole[parts == number].sum()
            cells[number] += (parts == number).sum()
    return {name: float(value) for name, value in zip(PARTS, sums / cells, strict=True)}


def parts_of_cells(scene: Scene, grid: tuple[int, ...]) -> np.ndarray:
    """(h, w) int: the position in PARTS of what the scene asks for in each cell."""
    height, width = grid
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    parts = np.full((height, width), PARTS.index("elsewhere"))
    for person in scene.people:
        across, down = np.abs(x - person.x) / person.unit, (y - person.y) / person.unit
        parts[(across < _SHOULDERS) & (down > _NECK)] = PARTS.index("shirts")
    for person in scene.people:
        across, down = np.abs(x - person.x) / person.unit, (y - person.y) / person.unit
        parts[(across < _HEAD) & (np.abs(down) < _HEAD)] = PARTS.index("heads")
    return parts
