"""The sums behind the metrics, each by itself."""

from pathlib import Path

import numpy as np
import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.evaluation.image_metrics import PromptFit, background_mask, disturbance
from dynamicid.evaluation.metrics import assign_by_likeness, assign_by_place, measure_expression
from dynamicid.evaluation.pictures import printable_name
from dynamicid.evaluation.summary import summarise
from dynamicid.files.skipped import BadSample

from .conftest import WEIGHTS


def test_names_can_be_printed():
    assert printable_name(Path("für\n\udcff.png")) == "für\\n\\udcff.png"


def test_faces_find_their_places():
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)
    assert assign_by_place([left, right], [(0.8, 0.4), (0.2, 0.4)]) == [1, 0]
    assert assign_by_place([left, right], [(0.8, 0.4)]) == [None, 0]
    assert assign_by_place([left, right], [(0.7, 0.5), (0.9, 0.5)]) == [None, 0]
    assert assign_by_place([left, right], []) == [None, None]
    assert assign_by_likeness(np.array([[0.9, 0.8], [0.8, 0.1]])) == [1, 0]
    assert assign_by_likeness(np.zeros((2, 0))) == [None, None]


def test_expressions():
    probabilities = np.array([0.1, 0.6, 0.1, 0.05, 0.05, 0.05, 0.05], dtype=np.float32)
    found = measure_expression("happy", probabilities)
    assert (found["expr"], found["read_expression"]) == (0.0, "surprise")
    assert found["expr_probability"] == pytest.approx(0.1)
    assert measure_expression("surprise", probabilities)["expr"] == 1.0
    assert measure_expression("surprise", None)["expr"] == 0.0


def test_disturbance_looks_at_the_background_only():
    random = np.random.default_rng(0)
    picture = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = background_mask((64, 64), [(0.0, 0.0, 0.5, 1.0)], [(40.0, 20.0, 48.0, 28.0)])
    assert not mask[:, :32].any()
    assert not mask[16:32, 36:52].any()
    assert mask[0, 60]
    other = picture.copy()
    other[:, :20] = 0
    assert disturbance(picture, picture, mask) == pytest.approx(0, abs=1e-6)
    assert disturbance(picture, other, mask) == pytest.approx(0, abs=1e-6)
    assert (disturbance(picture, 255 - picture, mask) or 0) > 0.5
    assert disturbance(picture, other, np.zeros((64, 64), dtype=bool)) is None
    with pytest.raises(BadSample):
        disturbance(picture, picture[:32], mask)


def test_the_interval_is_the_means():
    random = np.random.default_rng(1)
    values = random.normal(0.5, 0.1, 100)
    rows = [{"item": f"i{n}", "seed": seed, "x": float(v)} for n, v in enumerate(values) for seed in (0, 1)]
    found = summarise(rows, "x")
    assert found == summarise(rows, "x")
    assert found.low is not None
    assert found.high is not None
    assert found.mean == pytest.approx(values.mean())
    # Seeds of one item say the same thing twice; they do not make the interval narrower.
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.15)
    assert (found.items, found.pictures) == (100, 200)
    assert summarise([{"item": "a", "seed": 0, "x": None}], "x").mean is None


def test_clip_t_is_the_cosine(tmp_path: Path):
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "base" / "tokenizer")
    words = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    words |= {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    eyes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = CLIPConfig(text_config=words, vision_config={**eyes, "image_size": 32, "patch_size": 8}, projection_dim=16)
    size = {"height": 32, "width": 32}
    processor = CLIPProcessor(CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size), tokenizer)
    model = CLIPModel(config).eval()
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    picture = np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    prompt = "a photo of a person at the beach"
    inputs = processor(text=[prompt], images=[torch.from_numpy(picture).permute(2, 0, 1)], return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
        cosine = float((outputs.image_embeds * outputs.text_embeds).sum())
    prompt_fit = PromptFit(tmp_path)
    assert prompt_fit.score(picture, prompt) == pytest.approx(max(cosine, 0), abs=1e-5)
    assert prompt_fit.score(picture, prompt) == prompt_fit.score(picture, prompt)
    with pytest.raises(DynamicIDError, match=r"There is no config\.json"):
        PromptFit(tmp_path / "missing")
