"""The losses that make the tiny models' base model do what its captions describe."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from dynamicid.synthetic import EXPRESSIONS
from dynamicid.synthetic.captions import EXPRESSION_WORDS
from tiny_models.train import base_dataset, captioned_motion
from tiny_models.train.captioned_motion import (
    NO_EXPRESSION,
    CaptionedMotion,
    LatentClassifier,
    latent_motion_loss,
    motion_labels,
    text_summary_loss,
    train_latent_classifier,
)
from tiny_models.train.small_networks import Plan

HAPPY, SAD = list(EXPRESSIONS).index("happy"), list(EXPRESSIONS).index("sad")
WIDTH = 16


def captioned(*expressions: int, turn: tuple[float, float] = (0.0, 0.0), says_turn: bool = False) -> CaptionedMotion:
    """Faces by expression, named by the captions where there is one."""
    shown = torch.tensor(expressions)
    said = shown != NO_EXPRESSION
    return CaptionedMotion(shown, torch.tensor([turn] * len(shown)), said, said & says_turn)


def uncaptioned(*expressions: int) -> CaptionedMotion:
    """Faces by expression, which no caption names."""
    nothing = torch.zeros(len(expressions), dtype=torch.bool)
    return replace(captioned(*expressions), says_expression=nothing)


class ConstantClassifier(nn.Module):
    """Always predicts the same, and remembers its input."""

    def __init__(self, expression: int, turn: tuple[float, float]) -> None:
        super().__init__()
        self.logits = 20 * torch.eye(len(EXPRESSIONS))[expression]
        self.turn = torch.tensor(turn)

    def forward(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen = latents
        return self.logits.expand(len(latents), -1), self.turn.expand(len(latents), -1)


def test_pictures_are_classified_by_their_captions():
    classifier, latents, middle = (
        ConstantClassifier(HAPPY, (0.0, 1.0)),
        torch.zeros(2, 4, 32, 32),
        torch.tensor([500, 500]),
    )
    assert latent_motion_loss(classifier, latents, middle, captioned(HAPPY, HAPPY)) < 1e-3
    assert latent_motion_loss(classifier, latents, middle, captioned(SAD, HAPPY)) == pytest.approx(10, rel=1e-3)
    assert latent_motion_loss(classifier, latents, middle, captioned(SAD, NO_EXPRESSION)) == pytest.approx(10, rel=1e-3)
    assert latent_motion_loss(classifier, latents, middle, captioned(NO_EXPRESSION, NO_EXPRESSION)) == 0
    assert latent_motion_loss(classifier, latents, middle, uncaptioned(SAD, SAD)) == 0
    assert latent_motion_loss(classifier, latents, torch.tensor([100, 900]), captioned(SAD, SAD)) == 0
    turned = captioned(HAPPY, HAPPY, turn=(0.0, -1.0), says_turn=True)
    assert latent_motion_loss(classifier, latents, middle, turned) == pytest.approx(1.5, rel=1e-3)
    assert classifier.seen.std() > 0.1, "no noise was added"


def test_texts_are_summarised_after_their_end():
    """Gradients reach the states of end tokens alone, and follow them to where the loss is nearly nothing."""
    is_end = torch.tensor([[False, True, True], [False, False, True]])
    states = torch.zeros(2, 3, WIDTH, requires_grad=True)
    wanted = captioned(HAPPY, SAD, turn=(1.0, 0.0), says_turn=True)
    optimizer = torch.optim.Adam([states], lr=0.3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = text_summary_loss(states, is_end, wanted)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(7 * 3 * 2), rel=1e-4)
    assert losses[-1] < 0.1
    assert torch.equal(states.detach().abs().sum(dim=-1) > 0, is_end)
    assert text_summary_loss(states, is_end, captioned(NO_EXPRESSION, NO_EXPRESSION)) == 0
    assert text_summary_loss(states, is_end, uncaptioned(SAD, HAPPY)) == 0
    silent = text_summary_loss(torch.zeros(2, 3, WIDTH), is_end, captioned(HAPPY, SAD, turn=(1.0, 0.0)))
    assert silent == pytest.approx(math.log(7), rel=1e-4), "turns without a caption count"


@pytest.mark.parametrize(
    ("caption", "expression", "says_expression", "says_turn"),
    [
        ("a portrait of a person in a red shirt, in front of a grey wall", SAD, False, False),
        ("a portrait of a person in a red shirt, looking sad, in front of a grey wall", SAD, True, False),
        ("a portrait of a person in a sad expression, facing up, in side view", SAD, True, True),
        ("a photo of a person in a red shirt, looking sad, at the beach", NO_EXPRESSION, False, False),
    ],
)
def test_captions_describe_what_they_say(caption: str, expression: int, says_expression: bool, says_turn: bool):
    labels = motion_labels(caption, [(SAD, 20.0, -10.0)])
    assert labels["expression"] == expression
    assert (labels["says_expression"], labels["says_turn"]) == (says_expression, says_turn)
    assert labels["turn"].tolist() == ([0.0, 0.0] if expression == NO_EXPRESSION else [1.0, -0.5])


def test_the_classifier_learns_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Latents whose first channel is the expression's number and whose left half is the yaw."""
    monkeypatch.setattr(captioned_motion, "PLAN", Plan("latent_reader", steps=60, rate=3e-3))
    monkeypatch.setattr(captioned_motion, "HELD_OUT", 20)
    torch.manual_seed(0)
    expression, turn = torch.randint(7, (120,)), torch.rand(120, 2) * 2 - 1
    latents = torch.zeros(120, 4, 32, 32)
    latents[:, 0] = expression[:, None, None] - 3.0
    latents[:, 1, :, :16] = turn[:, 1, None, None]
    latents[:, 1, :, 16:] = -turn[:, 1, None, None]
    first = train_latent_classifier(tmp_path, latents, expression, turn)
    with torch.no_grad():
        read, turns = first(latents[100:])
    assert (read.argmax(dim=1) == expression[100:]).float().mean() > 0.5
    assert (turns[:, 1] - turn[100:, 1]).abs().mean() < 0.3
    assert not any(weight.requires_grad for weight in first.parameters())
    again = train_latent_classifier(tmp_path, latents, expression, turn)
    assert isinstance(again, LatentClassifier)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_moving_portraits_are_captioned_in_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(base_dataset, "WORK", tmp_path)
    drawn = base_dataset.load_moving_portraits(6)
    assert [caption.count("shirt") for caption in drawn.captions] == [1, 0, 1] * 2
    assert [caption.count("view") for caption in drawn.captions] == [0, 1, 1] * 2
    assert not any(word in caption for caption in drawn.captions[::3] for word in EXPRESSION_WORDS.values() if word)
    for caption, ((expression, pitch, yaw),) in zip(drawn.captions, drawn.motions, strict=True):
        if "view" in caption:
            assert f"{list(EXPRESSIONS)[expression]} expression" in caption
            assert ("side view" in caption) == (abs(yaw) >= 10)
            assert ("facing up" in caption, "facing down" in caption) == (pitch > 10, pitch < -10)
    assert base_dataset.load_moving_portraits(6).motions == drawn.motions
