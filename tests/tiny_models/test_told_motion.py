"""The losses that make the tiny models' base model do what captions tell faces to do."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from dynamicid.synthetic import EXPRESSIONS
from dynamicid.synthetic.captions import EXPRESSION_WORDS
from tiny_models.train import scenes, told_motion
from tiny_models.train.told_motion import (
    NONE,
    LatentReader,
    Told,
    labels_of,
    picture_loss,
    text_loss,
    train_latent_reader,
)
from tiny_models.train.training_loop import Plan

HAPPY, SAD = list(EXPRESSIONS).index("happy"), list(EXPRESSIONS).index("sad")
WIDTH = 16


def told(*expressions: int, turn: tuple[float, float] = (0.0, 0.0), says_turn: bool = False) -> Told:
    """Faces by expression; captions say it where there is one."""
    shown = torch.tensor(expressions)
    said = shown != NONE
    return Told(shown, torch.tensor([turn] * len(shown)), said, said & says_turn)


def shown_only(*expressions: int) -> Told:
    """Faces by expression, of which no caption says anything."""
    nothing = torch.zeros(len(expressions), dtype=torch.bool)
    return replace(told(*expressions), says_expression=nothing)


class Says(nn.Module):
    """A reader that always reads the same, and remembers what it was shown."""

    def __init__(self, expression: int, turn: tuple[float, float]) -> None:
        super().__init__()
        self.logits = 20 * torch.eye(len(EXPRESSIONS))[expression]
        self.turn = torch.tensor(turn)

    def forward(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen = latents
        return self.logits.expand(len(latents), -1), self.turn.expand(len(latents), -1)


def test_pictures_are_judged_by_what_their_captions_tell():
    reader, latents, middle = Says(HAPPY, (0.0, 1.0)), torch.zeros(2, 4, 32, 32), torch.tensor([500, 500])
    assert picture_loss(reader, latents, middle, told(HAPPY, HAPPY)) < 1e-3
    assert picture_loss(reader, latents, middle, told(SAD, HAPPY)) == pytest.approx(10, rel=1e-3)
    assert picture_loss(reader, latents, middle, told(SAD, NONE)) == pytest.approx(10, rel=1e-3)
    assert picture_loss(reader, latents, middle, told(NONE, NONE)) == 0
    assert picture_loss(reader, latents, middle, shown_only(SAD, SAD)) == 0
    assert picture_loss(reader, latents, torch.tensor([100, 900]), told(SAD, SAD)) == 0
    turned = told(HAPPY, HAPPY, turn=(0.0, -1.0), says_turn=True)
    assert picture_loss(reader, latents, middle, turned) == pytest.approx(1.5, rel=1e-3)
    assert reader.seen.std() > 0.1, "no noise was added"


def test_texts_are_judged_after_their_end():
    """Gradients reach the states of end tokens alone, and follow them to where the loss is nearly nothing."""
    is_end = torch.tensor([[False, True, True], [False, False, True]])
    states = torch.zeros(2, 3, WIDTH, requires_grad=True)
    wanted = told(HAPPY, SAD, turn=(1.0, 0.0), says_turn=True)
    optimizer = torch.optim.Adam([states], lr=0.3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = text_loss(states, is_end, wanted)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(7 * 3 * 2), rel=1e-4)
    assert losses[-1] < 0.1
    assert torch.equal(states.detach().abs().sum(dim=-1) > 0, is_end)
    assert text_loss(states, is_end, told(NONE, NONE)) == 0
    assert text_loss(states, is_end, shown_only(SAD, HAPPY)) == 0
    silent = text_loss(torch.zeros(2, 3, WIDTH), is_end, told(HAPPY, SAD, turn=(1.0, 0.0)))
    assert silent == pytest.approx(math.log(7), rel=1e-4), "turns that nobody told count"


@pytest.mark.parametrize(
    ("caption", "expression", "says_expression", "says_turn"),
    [
        ("a portrait of a person in a red shirt, in front of a grey wall", SAD, False, False),
        ("a portrait of a person in a red shirt, looking sad, in front of a grey wall", SAD, True, False),
        ("a portrait of a person in a sad expression, facing up, in side view", SAD, True, True),
        ("a photo of a person in a red shirt, looking sad, at the beach", NONE, False, False),
    ],
)
def test_captions_tell_what_they_say(caption: str, expression: int, says_expression: bool, says_turn: bool):
    labels = labels_of(caption, [(SAD, 20.0, -10.0)])
    assert labels["expression"] == expression
    assert (labels["says_expression"], labels["says_turn"]) == (says_expression, says_turn)
    assert labels["turn"].tolist() == ([0.0, 0.0] if expression == NONE else [1.0, -0.5])


def test_the_reader_learns_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Latents whose first channel is the expression's number and whose left half is the yaw."""
    monkeypatch.setattr(told_motion, "PLAN", Plan("latent_reader", steps=60, rate=3e-3))
    monkeypatch.setattr(told_motion, "HELD_OUT", 20)
    torch.manual_seed(0)
    expression, turn = torch.randint(7, (120,)), torch.rand(120, 2) * 2 - 1
    latents = torch.zeros(120, 4, 32, 32)
    latents[:, 0] = expression[:, None, None] - 3.0
    latents[:, 1, :, :16] = turn[:, 1, None, None]
    latents[:, 1, :, 16:] = -turn[:, 1, None, None]
    first = train_latent_reader(tmp_path, latents, expression, turn)
    with torch.no_grad():
        read, turns = first(latents[100:])
    assert (read.argmax(dim=1) == expression[100:]).float().mean() > 0.5
    assert (turns[:, 1] - turn[100:, 1]).abs().mean() < 0.3
    assert not any(weight.requires_grad for weight in first.parameters())
    again = train_latent_reader(tmp_path, latents, expression, turn)
    assert isinstance(again, LatentReader)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_moving_portraits_are_captioned_in_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scenes, "WORK", tmp_path)
    drawn = scenes.draw_moving_portraits(6)
    assert [caption.count("shirt") for caption in drawn.captions] == [1, 0, 1] * 2
    assert [caption.count("view") for caption in drawn.captions] == [0, 1, 1] * 2
    assert not any(word in caption for caption in drawn.captions[::3] for word in EXPRESSION_WORDS.values() if word)
    for caption, ((expression, pitch, yaw),) in zip(drawn.captions, drawn.motions, strict=True):
        if "view" in caption:
            assert f"{list(EXPRESSIONS)[expression]} expression" in caption
            assert ("side view" in caption) == (abs(yaw) >= 10)
            assert ("facing up" in caption, "facing down" in caption) == (pitch > 10, pitch < -10)
    assert scenes.draw_moving_portraits(6).motions == drawn.motions
