"""Trains both stages for a few steps on the full SD1.5 layout: what a step costs, and that frozen weights stay.

    python benchmarks/training.py --out benchmarks/training.json [--size 512] [--steps 20] [--precision bf16]

Weights by rule, cached samples of noise: no download, and the same work as with real ones. Needs 6 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts._bootstrap import print_line, relaunch_in_environment  # noqa: E402

SAMPLES, PHOTOS = 64, 33


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=512, help="pixels a side")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", choices=("no", "bf16", "fp16"), default="bf16")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    parser.add_argument("--targets", type=int, default=2, help="targets of stage 2 that go through the UNet")
    parser.add_argument("--work", type=Path, help="folder for the files by rule; a temporary one if not given")
    parser.add_argument("--stage", choices=("prepare", "saa", "imr"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(options: argparse.Namespace) -> None:
    """Preparation and both stages, each in a process of its own so that its peak of memory is its own."""
    for stage in ("prepare", "saa", "imr"):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--work", options.work, "--stage", stage], check=True)
    found = {stage: json.loads((options.work / f"{stage}.json").read_text()) for stage in ("saa", "imr")}
    import torch

    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU (threads: {torch.get_num_threads()})"
    about = {"machine": machine, "torch": torch.__version__, "python": platform.python_version()}
    settings = {name: getattr(options, name) for name in ("size", "steps", "precision", "checkpointing", "targets")}
    options.out.write_text(json.dumps({**about, **settings, **found}, indent=1) + "\n", encoding="utf-8")


def prepare(work: Path, size: int) -> None:
    """The base model's folder and both caches."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from dynamicid.pipeline.model_configs import SD15_CONFIGS
    from dynamicid.training.shards import shard_path, write_common, write_shard
    from tests.standin.rule import rule_state
    from tiny_models.places import BASE

    made = {
        "unet": UNet2DConditionModel.from_config(SD15_CONFIGS["unet/config.json"]),
        "vae": AutoencoderKL.from_config(SD15_CONFIGS["vae/config.json"]),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**SD15_CONFIGS["text_encoder/config.json"])),
    }
    for name, network in made.items():
        module: Any = network
        shapes = {key: tensor.shape for key, tensor in module.state_dict().items() if tensor.is_floating_point()}
        module.load_state_dict(rule_state(name, shapes), strict=False)
        module.half().save_pretrained(work / "base" / name)
    scheduler: Any = DDPMScheduler.from_config(SD15_CONFIGS["scheduler/scheduler_config.json"])
    scheduler.save_pretrained(work / "base" / "scheduler")
    CLIPTokenizer.from_pretrained(BASE / "tokenizer", local_files_only=True).save_pretrained(
        work / "base" / "tokenizer"
    )

    generator, cells = torch.Generator().manual_seed(0), size // 8

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def single() -> dict[str, torch.Tensor]:
        hidden = {"text": noise(77, 768), "clip_hidden": noise(257, 1280)}
        return {"latents": noise(2, 4, cells, cells), "id_embedding": noise(512), **hidden}

    def person() -> dict[str, torch.Tensor]:
        motion = {"prompts": noise(PHOTOS, 768), "maps": (noise(PHOTOS, 96, 96) > 2).byte() * 255}
        return {"tokens": noise(PHOTOS, 4, 768), "latents": noise(PHOTOS, 2, 4, cells, cells), **motion}

    about: dict[str, Any] = {"settings": {}}
    write_shard(shard_path(work / "saa_cache", 0), (single() for _ in range(SAMPLES)), {**about, "stage": "saa"})
    write_common(work / "saa_cache", {"empty_text": noise(77, 768), "zero_hidden": noise(257, 1280)})
    write_shard(
        shard_path(work / "imr_cache", 0), (person() for _ in range(SAMPLES // 8)), {"stage": "imr", "settings": {}}
    )
    write_common(work / "imr_cache", {"prompt_text": noise(77, 768)})


def run_stage(options: argparse.Namespace) -> None:
    """Trains one stage and checks it; writes ``<stage>.json``."""
    import torch

    import dynamicid.training.train_imr as second
    import dynamicid.training.train_saa as first
    from dynamicid.training.config import BaseSection, DataSection, IMRConfig, IMRModelSection, RunSection, SAAConfig
    from dynamicid.training.config import OptimizerSection as Optimizer

    work, stage = options.work, options.stage
    module: Any = {"saa": first, "imr": second}[stage]
    bases = _remember_bases(module)
    sections = {
        "base": BaseSection(model=work / "base"),
        "data": DataSection(folder=work, cache=work / f"{stage}_cache", size=options.size, workers=1),
        "run": RunSection(
            output=work / stage, steps=options.steps, mixed_precision=options.precision,
            gradient_checkpointing=options.checkpointing,
        ),
        "optimizer": Optimizer(batch_size=1, micro_batch_size=1),
    }  # fmt: skip
    started = time.monotonic()
    if stage == "saa":
        first.train_saa(SAAConfig(**sections))
    else:
        model = IMRModelSection(saa=work / "saa" / "weights" / "SAA.safetensors", consistency_targets=options.targets)
        second.train_imr(IMRConfig(**sections, model=model))
    losses = [json.loads(line)["loss"] for line in (work / stage / "losses.jsonl").read_text().splitlines()]
    found = {
        "seconds_a_step": _seconds_a_step(work / stage, options.steps),
        "seconds_in_all": time.monotonic() - started,
        "peak_gigabytes": _peak_gigabytes(),
        "losses": losses,
        "losses_are_finite": all(math.isfinite(loss) for loss in losses) and len(losses) == options.steps,
        "frozen_weights_are_bit_identical": _is_untouched(bases[0].unet, work / "base" / "unet"),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
    (work / f"{stage}.json").write_text(json.dumps(found))
    print_line(f"{stage}: {found}")


def _remember_bases(module: Any) -> list[Any]:
    """The base models that a stage loads, to look at afterwards."""
    bases, load = [], module.load_base

    def load_and_remember(*paths: Any) -> Any:
        bases.append(load(*paths))
        return bases[-1]

    module.load_base = load_and_remember
    return bases


def _is_untouched(unet: Any, folder: Path) -> bool:
    import torch
    from safetensors.torch import load_file

    kept = load_file(folder / "diffusion_pytorch_model.safetensors")
    now = unet.state_dict()
    return kept.keys() == now.keys() and all(
        torch.equal(kept[name].float().to(tensor.dtype), tensor.cpu()) for name, tensor in now.items()
    )


def _seconds_a_step(output: Path, steps: int) -> float:
    """By TensorBoard's clock, from the end of the first step to that of the last."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file = next((output / "tensorboard").rglob("events*"))
    events = EventAccumulator(str(file))
    events.Reload()
    times = [event.wall_time for event in events.Scalars("loss")]
    return (times[-1] - times[0]) / (steps - 1)


def _peak_gigabytes() -> float:
    """Of the GPU where there is one, else of this process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Runs in the repository's environment."""
    options = _arguments()
    relaunch_in_environment()
    if options.stage == "prepare":
        prepare(options.work, options.size)
    elif options.stage:
        run_stage(options)
    elif options.work:
        measure(options)
    else:
        with tempfile.TemporaryDirectory() as folder:
            options.work = Path(folder)
            measure(options)


if __name__ == "__main__":
    main()
