"""Every training step of the tiny models runs: two optimisation steps on a few pictures reach every parameter."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from dynamicid.synthetic import Split
from tiny_models.train import (
    autoencoder,
    base_dataset,
    base_model,
    captioned_motion,
    classifier_dataset,
    detector,
    face_dataset,
    image_encoder,
    landmarks,
    recognition,
    tokenizer,
    train_classifiers,
)
from tiny_models.train.steps import STEPS

STEP_COUNT, BATCH = 2, 6


@pytest.fixture(scope="module")
def small_sets() -> Iterator[None]:
    """A handful of scenes and portraits in place of thousands."""
    patch = pytest.MonkeyPatch()
    patch.setattr(face_dataset, "COUNTS", {Split.train: (6, 4), Split.held_out: (8, 8)})
    patch.setattr(classifier_dataset, "COUNTS", {Split.train: (8, 5), Split.held_out: (2, 2)})
    yield
    patch.undo()


@pytest.fixture(scope="module")
def work(small_sets: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps the pictures, which all face networks share."""
    return tmp_path_factory.mktemp("work")


def shortened(module: ModuleType, patch: pytest.MonkeyPatch) -> str:
    """Shortens a module's training; the name of its checkpoint."""
    patch.setattr(module, "PLAN", replace(module.PLAN, steps=STEP_COUNT))
    patch.setattr(module, "BATCH", BATCH)
    return f"{module.PLAN.name}.ckpt"


def parameters_without_gradient(checkpoint: Path) -> int:
    """How many parameters had no gradient in any step."""
    state = torch.load(checkpoint, weights_only=True)
    assert state["step"] == STEP_COUNT
    assert all(bool(value.isfinite().all()) for value in state["net"].values())
    moments = [entry["exp_avg_sq"] for entry in state["optimiser"]["state"].values()]
    assert len(moments) == sum(len(group["params"]) for group in state["optimiser"]["param_groups"])
    return sum(not bool(moment.any()) for moment in moments)


@pytest.mark.parametrize(
    ("module", "train", "files"),
    [
        (detector, detector.train_detector, ["det_10g.onnx"]),
        (recognition, recognition.train_recognition, ["w600k_r50.onnx"]),
        (landmarks, landmarks.train_landmarks, ["2d106det.onnx", "1k3d68.onnx"]),
    ],
    ids=["detector", "recognition", "landmarks"],
)
def test_face_networks_are_trained_and_exported(
    module: ModuleType,
    train: Callable[[Path, Path], None],
    files: list[str],
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint = shortened(module, monkeypatch)
    train(work, tmp_path)
    assert parameters_without_gradient(work / checkpoint) == 0
    for name in files:
        session: Any = onnxruntime.InferenceSession(tmp_path / name)
        (entry,) = session.get_inputs()
        shape = [size if isinstance(size, int) else (1, 3, 64, 64)[place] for place, size in enumerate(entry.shape)]
        dark, light = (session.run(None, {entry.name: np.full(shape, value, np.float32)}) for value in (-1, 1))
        assert not np.array_equal(dark[0], light[0])


def test_the_image_encoder_is_trained(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = shortened(image_encoder, monkeypatch)
    image_encoder.train_image_encoder(work, tmp_path)
    assert parameters_without_gradient(work / checkpoint) == 0
    written = load_file(tmp_path / "model.safetensors")
    trained = torch.load(work / checkpoint, weights_only=True)["net"]
    name = "vision_model.embeddings.patch_embedding.weight"
    assert torch.equal(written[name], trained[f"encoder.{name}"].half())


def test_classifiers_are_trained(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = shortened(train_classifiers, monkeypatch)
    # Classifiers of two steps find no face to measure.
    monkeypatch.setattr(train_classifiers, "measure_accuracy", lambda *_: {"people": 0.12344})
    train_classifiers.train_classifiers(work, tmp_path)
    assert parameters_without_gradient(work / checkpoint) == 0
    accuracies = json.loads((tmp_path / train_classifiers.ACCURACIES).read_text(encoding="utf-8"))
    assert accuracies == {"drawn": {"people": 0.1234}, "through the autoencoder": {"people": 0.1234}}


def test_the_autoencoder_is_trained_and_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "BASE", tmp_path)
    monkeypatch.setattr(autoencoder, "STEPS", STEP_COUNT)
    monkeypatch.setattr(autoencoder, "BATCH", 2)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    trained = autoencoder.train_autoencoder(pictures)
    again = autoencoder.train_autoencoder(pictures)
    assert again.config["scaling_factor"] == pytest.approx(trained.config["scaling_factor"])
    assert again.config["scaling_factor"] > 0
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, trained.state_dict()[name]), name
    torch.manual_seed(autoencoder.SEED)
    untrained: Any = autoencoder.AutoencoderKL(**autoencoder.SIZES)
    for name, weight in untrained.named_parameters():
        assert not torch.equal(weight.half().float(), again.state_dict()[name]), name


def test_phases_of_the_base_model_continue_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (base_dataset, base_model):
        monkeypatch.setattr(module, "WORK", tmp_path)
    monkeypatch.setattr(captioned_motion, "PLAN", replace(captioned_motion.PLAN, steps=STEP_COUNT))
    monkeypatch.setattr(captioned_motion, "HELD_OUT", 2)
    monkeypatch.setattr(captioned_motion, "BATCH", BATCH)
    config = base_model._config

    def small_config(phase: base_model.Phase) -> Any:
        whole = config(phase)
        small = whole.optimizer.model_copy(update={"batch_size": 2, "micro_batch_size": 2, "warmup_steps": 1})
        return whole.model_copy(update={"optimizer": small})

    monkeypatch.setattr(base_model, "_config", small_config)
    scenes, moving = base_dataset.load_pictures(4), base_dataset.load_moving_portraits(6)
    vae, words = autoencoder.train_autoencoder(scenes.pixels), tokenizer.make_tokenizer(scenes.captions)
    first = replace(base_model.SCENES, steps=STEP_COUNT)
    base_model.train_base(first, [scenes], vae, words)
    second = replace(base_model.MOTION, steps=STEP_COUNT, start=first)
    base_model.train_base(second, [scenes.first(2), moving], vae, words)
    assert parameters_without_gradient(tmp_path / "base" / "latent_reader.ckpt") == 0
    for name in ("unet", "text_encoder"):
        before, after = (load_file(next((phase.weights / name).glob("*.safetensors"))) for phase in (first, second))
        assert before.keys() == after.keys()
        assert all(bool(weight.isfinite().all()) for weight in after.values())
        changed = [key for key, weight in after.items() if not torch.equal(weight, before[key])]
        assert len(changed) > 0.8 * len(after)


def test_steps_keep_their_order() -> None:
    """Later steps need what earlier ones wrote."""
    assert list(STEPS) == [
        "vae", "base", "base_faces", "base_told", "base_clear", "base_wide", "faces", "saa", "saa_late", "saa_small",
        "saa_average", "imr", "readers", "photos",
    ]  # fmt: skip
