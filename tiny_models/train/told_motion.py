"""What makes the base model paint the motion that a portrait's caption tells.

Mouths and brows are a few latents, so the noise's error says almost nothing of them: with it alone, words for
expressions changed nothing in the pictures. Two losses help. The text encoder has to sum up what it read in the tokens
after the caption's end, as Stable Diffusion's learnt it from CLIP: one token among 76 others went unheard. And a small
network that reads motion off latents has to find it in those that the UNet predicts; they are blurred and made noisy,
or it would be pleased by patterns that are no face.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.functional import gaussian_blur

from dynamicid.faces.prompts import TURN_DEGREES
from dynamicid.synthetic import EXPRESSIONS
from dynamicid.synthetic.captions import EXPRESSION_WORDS
from dynamicid.training.shards import Sample

from ..places import SEED
from .scenes import PORTRAIT_PROMPT
from .training_loop import Plan, train

logger = logging.getLogger(__name__)

PLAN = Plan("latent_reader", steps=3500, rate=2e-3, decay=0.05)
BATCH, HELD_OUT = 64, 1000
BLURRED, BLURS, LARGEST_NOISE = 0.35, (0.3, 1.3), 0.5
READABLE = (150, 850)
"""Timesteps whose predictions are read: earlier ones decide nothing any more, later ones show nothing yet."""
TURN_SCALE = 20.0
"""Degrees that count as 1."""
NONE = -1
"""In place of an expression: a scene."""
WAYS = {"expression": len(EXPRESSIONS), "pitch": 3, "view": 2}
"""What the text encoder sums up, and how many ways there are of each."""


@dataclass(frozen=True, eq=False)
class Told:
    """What pictures show of one face each, and whether their captions tell it.

    Attributes:
        expression: (B,) long, its place in EXPRESSIONS or NONE.
        turn: (B, 2) pitch and yaw over TURN_SCALE.
        says_expression: (B,) bool, whether the caption says the expression.
        says_turn: (B,) bool, whether it says how the head is turned, too.
    """

    expression: Tensor
    turn: Tensor
    says_expression: Tensor
    says_turn: Tensor


def labels_of(caption: str, motions: Sequence[tuple[int, float, float]]) -> Sample:
    """The fields of ``Told`` for one picture; scenes tell nothing, their faces are too small to be read.

    Args:
        caption: Of the picture.
        motions: As in ``Pictures``.
    """
    expression, pitch, yaw = motions[0] if caption.startswith(PORTRAIT_PROMPT) else (NONE, 0.0, 0.0)
    words = "" if expression == NONE else EXPRESSION_WORDS[tuple(EXPRESSIONS)[expression]]
    return {
        "expression": torch.tensor(expression),
        "turn": torch.tensor([pitch, yaw]) / TURN_SCALE,
        "says_expression": torch.tensor("expression" in caption or (bool(words) and words in caption)),
        "says_turn": torch.tensor("view" in caption),
    }


class LatentReader(nn.Module):
    """Latents (B, 4, 32, 32) of portraits -> logits of expressions (B, 7), and pitch and yaw (B, 2) as in ``Told``."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (4, 32, 48, 64, 64, 96, 96, 128)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(sizes)):
            stride = 2 if number in (2, 4, 6) else 1
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 4 * 4, 192), nn.SiLU())
        self.head = nn.Linear(192, WAYS["expression"] + 2)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        read = self.head(self.features(latents))
        return read[:, : WAYS["expression"]], read[:, WAYS["expression"] :]


def train_latent_reader(work: Path, latents: Tensor, expression: Tensor, turn: Tensor) -> LatentReader:
    """Trains the reader, or loads it where it was trained before; frozen.

    Args:
        work: Where its checkpoint is kept.
        latents: (N, 4, 32, 32) of portraits, more than HELD_OUT.
        expression: (N,) long, what they show.
        turn: (N, 2), as in ``Told``.
    """
    torch.manual_seed(SEED)
    reader = LatentReader()
    known = len(latents) - HELD_OUT

    def batch(random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.from_numpy(random.integers(known, size=BATCH))
        seen, turned = _made_unclear(latents[rows].float()), turn[rows].float()
        if random.random() < 0.5:
            seen, turned = seen.flip(-1), turned * torch.tensor([1.0, -1.0])
        return seen, expression[rows], turned

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits, turned = net(batch[0])
        wrong = functional.cross_entropy(logits.float(), batch[1], label_smoothing=0.05)
        return wrong + functional.mse_loss(turned.float(), batch[2])

    train(PLAN, work, reader, batch, loss)
    with torch.no_grad():
        logits, turned = reader(latents[known:].float())
    right = (logits.argmax(dim=1) == expression[known:]).float().mean()
    off = TURN_SCALE * (turned - turn[known:].float()).abs().mean()
    logger.info("latent reader: expressions %.3f right, heads %.1f degrees off", float(right), float(off))
    return reader.requires_grad_(False)


def _made_unclear(latents: Tensor) -> Tensor:
    """All blurred alike or none, each with its own amount of noise."""
    if float(torch.rand(())) < BLURRED:
        width = float(torch.empty(()).uniform_(*BLURS))
        latents = gaussian_blur(latents, [7, 7], [width, width])
    amount = LARGEST_NOISE * torch.rand(len(latents), 1, 1, 1, device=latents.device)
    return latents + amount * torch.randn_like(latents)


def picture_loss(reader: nn.Module, predicted: Tensor, timesteps: Tensor, told: Told) -> Tensor:
    """How badly the told motions are read off predicted latents (B, 4, 32, 32); a scalar, 0 where nothing is told."""
    with torch.autocast(predicted.device.type, torch.bfloat16):
        expression, turn = reader(_made_unclear(predicted))
    first, last = READABLE
    counts = (timesteps > first) & (timesteps < last)
    wrong = functional.cross_entropy(expression.float(), told.expression, ignore_index=NONE, reduction="none")
    off = functional.huber_loss(turn.float(), told.turn, reduction="none").sum(dim=1)
    return (counts * (told.says_expression * wrong + told.says_turn * off)).sum() / len(counts)


def text_loss(states: Tensor, is_end: Tensor, told: Told) -> Tensor:
    """How badly the tokens after the end of a caption sum it up; a scalar.

    Args:
        states: (B, tokens, width) of the text encoder.
        is_end: (B, tokens) bool.
        told: What the captions say.
    """
    pitch, yaw = (TURN_SCALE * told.turn).unbind(dim=1)
    up, down = pitch > TURN_DEGREES, pitch < -TURN_DEGREES
    turns = {"pitch": up.long() + 2 * down.long(), "view": (yaw.abs() >= TURN_DEGREES).long()}
    wanted = {"expression": told.expression.where(told.says_expression, NONE)}
    wanted |= {name: way.where(told.says_turn, NONE) for name, way in turns.items()}
    read = (states.float() @ _directions(states.shape[-1]).to(states.device)).split(list(WAYS.values()), dim=-1)
    wrong = torch.zeros_like(is_end, dtype=torch.float32)
    for logits, name in zip(read, WAYS, strict=True):
        way = wanted[name][:, None].expand_as(is_end)
        wrong = wrong + functional.cross_entropy(logits.transpose(1, 2), way, ignore_index=NONE, reduction="none")
    counts = is_end & (told.says_expression | told.says_turn)[:, None]
    return (wrong * counts).sum() / counts.sum().clamp(min=1)


@cache
def _directions(width: int) -> Tensor:
    """(width, all ways) orthogonal, always the same: as logits stay small, the states themselves have to move apart."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.linalg.qr(torch.randn(width, sum(WAYS.values()), generator=generator))[0]
