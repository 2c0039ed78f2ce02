"""What the image encoder is trained to tell: heads that read it off hidden states, thrown away afterwards."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dynamicid.faces.landmarks import LANDMARK_COUNT
from dynamicid.synthetic import EXPRESSIONS
from dynamicid.synthetic.colours import SHIRTS

from .face_pictures import MOTION_FIELDS
from .face_truth import KINDS, NUMBERS

SIZES = {"numbers": NUMBERS, "motion": len(MOTION_FIELDS), "ground": 6, "landmarks": 2 * LANDMARK_COUNT}
CLASSES = {
    **{name: len(values) for name, values in KINDS.items()},
    "expression": len(EXPRESSIONS),
    "shirt": len(SHIRTS),
}
_WEIGHTS = {"numbers": 4.0, "motion": 4.0, "landmarks": 4.0, "expression": 0.5}
_CLASS_WEIGHT = 0.25
_SEEK_WEIGHT = 0.5


class Readers(nn.Module):
    """Reads everything off hidden states by eight learned queries, or off one vector.

    Args:
        width: Channels of what is read.
        queries: How many queries; 0 = the input is one vector.
    """

    def __init__(self, width: int, queries: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02) if queries else None
        self.attend = nn.MultiheadAttention(width, 4, batch_first=True) if queries else None
        self.mix = nn.Sequential(nn.Linear(width * max(1, queries), 384), nn.GELU())
        self.heads = nn.ModuleDict({name: nn.Linear(384, size) for name, size in {**SIZES, **CLASSES}.items()})

    def forward(self, states: Tensor) -> dict[str, Tensor]:
        """(B, tokens, width) or (B, width) -> name -> (B, size)"""
        states = self.norm(states)
        if self.attend is not None and self.queries is not None:
            queries = self.queries.expand(len(states), -1, -1)
            states = self.attend(queries, states, states, need_weights=False)[0].flatten(1)
        features = self.mix(states)
        return {name: head(features) for name, head in self.heads.items()}


class Seeker(nn.Module):
    """Says of each landmark in which patch it lies: every patch has to know what it shows, and where.

    Args:
        width: Channels of the hidden states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, LANDMARK_COUNT))

    def forward(self, states: Tensor) -> Tensor:
        """(B, 1 + patches, width), the class token first -> (B, patches, 106) logits over the patches"""
        return self.layers(states[:, 1:])


def reading_loss(read: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """Weighted sum over everything that is read."""
    total = torch.zeros(())
    for name, value in read.items():
        if name in SIZES:
            loss = functional.smooth_l1_loss(value.float(), wanted[name], beta=0.3)
        else:
            loss = functional.cross_entropy(value.float(), wanted[name], ignore_index=-100)
            loss = torch.nan_to_num(loss)
        total = total + _WEIGHTS.get(name, _CLASS_WEIGHT) * loss
    return total


def seeking_loss(logits: Tensor, landmarks: Tensor) -> Tensor:
    """Cross entropy of the patches in which the landmarks lie.

    Args:
        logits: (B, patches, 106)
        landmarks: (B, 212) x and y in [-1, 1] over the crop; those outside do not count.
    """
    side = round(logits.shape[1] ** 0.5)
    points = landmarks.view(-1, LANDMARK_COUNT, 2)
    column, row = ((points + 1) * side / 2).floor().long().unbind(-1)
    outside = (column < 0) | (column >= side) | (row < 0) | (row >= side)
    wanted = (row * side + column).masked_fill(outside, -100)
    return _SEEK_WEIGHT * functional.cross_entropy(logits.float(), wanted, ignore_index=-100)
