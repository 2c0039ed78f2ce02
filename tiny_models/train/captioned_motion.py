"""Losses that make the base model paint the motion that a portrait's caption describes.

Mouths and brows cover a few latents, so that the denoising loss hardly depends on them: trained with it alone, words
for expressions change nothing in the pictures. Two auxiliary losses help. The text encoder has to summarise the caption
in the tokens after its end, as Stable Diffusion's learnt it from CLIP; one token among 76 others is not enough. And a
classifier of motions has to recognise the caption's motion in the latents that the UNet predicts. These are blurred and
made noisy first, or the UNet would learn adversarial patterns.
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
from ..precision import mixed_precision
from .base_dataset import PORTRAIT_PROMPT
from .small_networks import Plan, train

logger = logging.getLogger(__name__)

PLAN = Plan("latent_reader", steps=3500, rate=2e-3, decay=0.05)
BATCH, HELD_OUT = 64, 1000
BLUR_SHARE, BLUR_SIGMAS, LARGEST_NOISE = 0.35, (0.3, 1.3), 0.5
CLASSIFIED_TIMESTEPS = (150, 850)
"""Timesteps whose predictions are classified: later ones show no face yet, earlier ones change no motion any more."""
TURN_SCALE = 20.0
"""Degrees that count as 1."""
NO_EXPRESSION = -1
"""The expression label of a scene."""
CLASS_COUNTS = {"expression": len(EXPRESSIONS), "pitch": 3, "view": 2}
"""What the text encoder summarises, and the number of classes of each."""


@dataclass(frozen=True, eq=False)
class CaptionedMotion:
    """The motions of one face a picture, and whether the captions describe them.

    Attributes:
        expression: (B,) long, position in EXPRESSIONS or NO_EXPRESSION.
        turn: (B, 2) pitch and yaw over TURN_SCALE.
        says_expression: (B,) bool, whether the caption names the expression.
        says_turn: (B,) bool, whether the caption names pitch and yaw, too.
    """

    expression: Tensor
    turn: Tensor
    says_expression: Tensor
    says_turn: Tensor


def motion_labels(caption: str, motions: Sequence[tuple[int, float, float]]) -> Sample:
    """The fields of ``CaptionedMotion`` for one picture. Scenes have no labels, since their faces are too small.

    Args:
        caption: Of the picture.
        motions: As in ``CaptionedPictures``.
    """
    expression, pitch, yaw = motions[0] if caption.startswith(PORTRAIT_PROMPT) else (NO_EXPRESSION, 0.0, 0.0)
    words = "" if expression == NO_EXPRESSION else EXPRESSION_WORDS[tuple(EXPRESSIONS)[expression]]
    return {
        "expression": torch.tensor(expression),
        "turn": torch.tensor([pitch, yaw]) / TURN_SCALE,
        "says_expression": torch.tensor("expression" in caption or (bool(words) and words in caption)),
        "says_turn": torch.tensor("view" in caption),
    }


class LatentClassifier(nn.Module):
    """Latents (B, 4, 32, 32) of portraits -> logits of expressions (B, 7), and pitch and yaw (B, 2) over TURN_SCALE."""

    def __init__(self) -> None:
        super().__init__()
        widths = (4, 32, 48, 64, 64, 96, 96, 128)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(widths)):
            stride = 2 if number in (2, 4, 6) else 1
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 4 * 4, 192), nn.SiLU())
        self.head = nn.Linear(192, len(EXPRESSIONS) + 2)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.head(self.features(latents))
        return outputs[:, : len(EXPRESSIONS)], outputs[:, len(EXPRESSIONS) :]


def train_latent_classifier(work: Path, latents: Tensor, expression: Tensor, turn: Tensor) -> LatentClassifier:
    """Trains the classifier, or loads its checkpoint; returns it frozen.

    Args:
        work: Folder of its checkpoint.
        latents: (N, 4, 32, 32) of portraits, more than HELD_OUT.
        expression: (N,) long, their expressions.
        turn: (N, 2) pitch and yaw over TURN_SCALE.
    """
    torch.manual_seed(SEED)
    classifier = LatentClassifier()
    known = len(latents) - HELD_OUT

    def make_batch(random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.from_numpy(random.integers(known, size=BATCH))
        inputs, turns = _blur_and_noise(latents[rows].float()), turn[rows].float()
        if random.random() < 0.5:
            inputs, turns = inputs.flip(-1), turns * torch.tensor([1.0, -1.0])
        return inputs, expression[rows], turns

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        with mixed_precision():
            logits, turns = net(batch[0])
        expression_loss = functional.cross_entropy(logits.float(), batch[1], label_smoothing=0.05)
        return expression_loss + functional.mse_loss(turns.float(), batch[2])

    train(PLAN, work, classifier, make_batch, loss)
    with torch.no_grad():
        logits, turns = classifier(latents[known:].float())
    accuracy = (logits.argmax(dim=1) == expression[known:]).float().mean()
    error = TURN_SCALE * (turns - turn[known:].float()).abs().mean()
    logger.info("latent classifier: expressions %.3f right, heads %.1f degrees off", float(accuracy), float(error))
    return classifier.requires_grad_(False)


def _blur_and_noise(latents: Tensor) -> Tensor:
    """All latents blurred alike or not at all, each with its own amount of noise."""
    if float(torch.rand(())) < BLUR_SHARE:
        sigma = float(torch.empty(()).uniform_(*BLUR_SIGMAS))
        latents = gaussian_blur(latents, [7, 7], [sigma, sigma])
    amount = LARGEST_NOISE * torch.rand(len(latents), 1, 1, 1, device=latents.device)
    return latents + amount * torch.randn_like(latents)


def latent_motion_loss(classifier: nn.Module, predicted: Tensor, timesteps: Tensor, motion: CaptionedMotion) -> Tensor:
    """Loss of the captioned motions classified from predicted latents (B, 4, 32, 32); 0 where no caption names one."""
    with mixed_precision(predicted.device.type):
        expression, turn = classifier(_blur_and_noise(predicted))
    first, last = CLASSIFIED_TIMESTEPS
    counts = (timesteps > first) & (timesteps < last)
    expression_loss = functional.cross_entropy(
        expression.float(), motion.expression, ignore_index=NO_EXPRESSION, reduction="none"
    )
    turn_loss = functional.huber_loss(turn.float(), motion.turn, reduction="none").sum(dim=1)
    return (counts * (motion.says_expression * expression_loss + motion.says_turn * turn_loss)).sum() / len(counts)


def text_summary_loss(states: Tensor, is_end: Tensor, motion: CaptionedMotion) -> Tensor:
    """Loss of the captioned motions classified from the tokens after the end of a caption; a scalar.

    Args:
        states: (B, tokens, width) of the text encoder.
        is_end: (B, tokens) bool.
        motion: What the captions describe.
    """
    pitch, yaw = (TURN_SCALE * motion.turn).unbind(dim=1)
    up, down = pitch > TURN_DEGREES, pitch < -TURN_DEGREES
    turns = {"pitch": up.long() + 2 * down.long(), "view": (yaw.abs() >= TURN_DEGREES).long()}
    labels = {"expression": motion.expression.where(motion.says_expression, NO_EXPRESSION)}
    labels |= {name: values.where(motion.says_turn, NO_EXPRESSION) for name, values in turns.items()}
    logits = states.float() @ _class_directions(states.shape[-1]).to(states.device)
    loss = torch.zeros_like(is_end, dtype=torch.float32)
    for part, name in zip(logits.split(list(CLASS_COUNTS.values()), dim=-1), CLASS_COUNTS, strict=True):
        label = labels[name][:, None].expand_as(is_end)
        loss = loss + functional.cross_entropy(
            part.transpose(1, 2), label, ignore_index=NO_EXPRESSION, reduction="none"
        )
    counts = is_end & (motion.says_expression | motion.says_turn)[:, None]
    return (loss * counts).sum() / counts.sum().clamp(min=1)


@cache
def _class_directions(width: int) -> Tensor:
    """(width, classes) fixed orthogonal directions. The logits stay small, so that the states have to differ."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.linalg.qr(torch.randn(width, sum(CLASS_COUNTS.values()), generator=generator))[0]
