"""Captions from templates and from a vision-language model, behind one interface."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
)
from typer.testing import CliRunner

from dynamicid.cli.app import app
from dynamicid.errors import DynamicIDError
from dynamicid.faces.detected import DetectedFace
from dynamicid.training.captions import ModelCaptioner, TemplateCaptioner, write_captions

from .small_world import write_picture

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "photo", "of", "someone", "outside"]


class OneFace:
    """Finds this face, whatever the picture."""

    def __init__(self, box_xyxy: tuple[float, float, float, float], pose: tuple[float, float, float]) -> None:
        marks, vector = np.zeros((106, 2), dtype=np.float32), np.zeros(512, dtype=np.float32)
        self.face = DetectedFace(box_xyxy, 0.9, marks, np.array(pose, dtype=np.float32), vector)

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        return [self.face]


@pytest.mark.parametrize(
    ("box", "pose", "text"),
    [
        ((40, 40, 60, 70), (0, 0, 0), "photo of a person, in front view"),
        ((30, 30, 70, 75), (-20, 5, 0), "close-up photo of a person, facing down, in front view"),
        ((10, 40, 18, 50), (0, 30, 0), "photo of a small person on the left, in side view"),
        ((70, 40, 90, 70), (15, 0, 0), "photo of a person on the right, facing up, in front view"),
    ],
)
def test_templates_say_size_place_and_pose(box: tuple[float, ...], pose: tuple[float, ...], text: str):
    assert TemplateCaptioner(OneFace(box, pose)).caption(np.zeros((100, 100, 3), dtype=np.uint8)) == text  # pyright: ignore


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captioning model with random weights."""
    folder = tmp_path_factory.mktemp("blip")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    ids: dict[str, Any] = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = BlipTextConfig(vocab_size=len(WORDS), encoder_hidden_size=16, **sizes, **ids)
    vision = BlipVisionConfig(image_size=16, patch_size=8, **sizes)
    torch.manual_seed(0)
    config = BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    BlipProcessor(BlipImageProcessor(size=size), BertTokenizer(str(folder / "vocab.txt"))).save_pretrained(folder)
    return folder


def test_captions_come_from_a_model_and_never_replace_what_is_there(blip: Path, tmp_path: Path):
    (tmp_path / "more").mkdir()
    for name in ("a.png", "b.png", "more/c.png"):
        write_picture(tmp_path / name)
    (tmp_path / "b.txt").write_text("mine")
    (tmp_path / "d.png").write_bytes(b"no picture")
    result = CliRunner().invoke(app, ["caption", str(tmp_path), "--model", str(blip)])
    assert result.exit_code == 0, result.output
    assert "Wrote 2 captions; 1 skipped: 1 x unreadable picture (d.png)." in result.output
    for name in ("a", "more/c"):
        words = (tmp_path / f"{name}.txt").read_text().split()
        assert words
        assert set(words) <= {*WORDS}
    assert (tmp_path / "b.txt").read_text() == "mine"
    count, _ = write_captions(tmp_path, ModelCaptioner(blip, torch.device("cpu")), overwrite=True)
    assert count == 3
    assert (tmp_path / "b.txt").read_text() != "mine"


def test_what_is_no_model_is_said(tmp_path: Path):
    with pytest.raises(DynamicIDError, match="--model: transformers cannot load"):
        ModelCaptioner(tmp_path, torch.device("cpu"))
    result = CliRunner().invoke(app, ["caption", str(tmp_path)])
    assert (result.exit_code, "Name --model or --face-pack" in result.output) == (1, True)
