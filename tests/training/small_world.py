"""A Stable Diffusion of a few thousand numbers, an image encoder, people, and configurations for them."""

import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

from dynamicid.faces.detected import DetectedFace
from dynamicid.training.config import IMRConfig, SAAConfig, TrainingConfig, load_config

WIDTH = 64
SIZE = 16
Config = TypeVar("Config", bound=TrainingConfig)


def small_unet(with_attention: tuple[bool, bool] = (True, True)) -> UNet2DConditionModel:
    """A UNet of two levels with random weights; ``with_attention`` says which have transformer blocks."""
    torch.manual_seed(0)
    down = tuple("CrossAttnDownBlock2D" if wanted else "DownBlock2D" for wanted in with_attention)
    up = tuple("CrossAttnUpBlock2D" if wanted else "UpBlock2D" for wanted in reversed(with_attention))
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=down,
        up_block_types=up,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=8,
    ).eval()


def write_base(folder: Path, downsamplings: int = 1) -> Path:
    """A diffusers folder with random weights: 4 transformer blocks, so 8 attention layers.

    Args:
        folder: Where it goes.
        downsamplings: How often the VAE halves the sides of a picture.
    """
    vae_sizes: dict[str, Any] = dict(
        block_out_channels=(8,) * downsamplings + (16,), down_block_types=("DownEncoderBlock2D",) * (downsamplings + 1),
        up_block_types=("UpDecoderBlock2D",) * (downsamplings + 1), latent_channels=4, norm_num_groups=4,
        sample_size=SIZE,
    )  # fmt: skip
    small_unet((True, False)).save_pretrained(folder / "unet")
    AutoencoderKL(**vae_sizes).save_pretrained(folder / "vae")
    DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(
        folder / "scheduler"
    )
    write_tokenizer(folder / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=40, hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=38, eos_token_id=39, pad_token_id=39,
    )  # fmt: skip
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    return folder


def write_tokenizer(folder: Path) -> None:
    """Letters and ends of words."""
    folder.mkdir(parents=True)
    letters = [chr(97 + i) for i in range(19)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16).save_pretrained(folder)


def write_clip_vision(folder: Path) -> Path:
    """An image encoder with 5 positions of width 32."""
    torch.manual_seed(1)
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14,
        projection_dim=8,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


class CountingAnalyzer:
    """Finds as many faces as the red of the first pixel says; who it is, from the green; blue: at the left edge."""

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        height, width = image.shape[:2]
        left = 0.0 if image[0, 0, 2] else 0.4
        vector = np.random.default_rng(int(image[0, 0, 1])).normal(size=32).astype(np.float32)
        face = DetectedFace(
            box_xyxy=(left * width, height * 0.4, (left + 0.2) * width, height * 0.6),
            score=0.9,
            landmarks_106=np.full((106, 2), 256, dtype=np.float32),
            pose=np.zeros(3, dtype=np.float32),
            embedding=vector / np.linalg.norm(vector),
        )
        return [face] * int(image[0, 0, 0])


def write_picture(
    path: Path, faces: int = 1, person: int = 0, size: tuple[int, int] = (24, 20), edge: bool = False
) -> None:
    """A noisy picture in which ``CountingAnalyzer`` finds ``faces`` faces of ``person``."""
    picture = np.random.default_rng(sum(path.name.encode())).integers(0, 255, (*size, 3), dtype=np.uint8)
    picture[0, 0] = (faces, person, edge)
    Image.fromarray(picture).save(path)


def write_folder(folder: Path, count: int) -> Path:
    """Stage 1 data: ``count`` good pictures with captions."""
    folder.mkdir(parents=True)
    for i in range(count):
        write_picture(folder / f"{i:03d}.png", person=i)
        (folder / f"{i:03d}.txt").write_text(f"a b c {chr(97 + i % 19)}")
    return folder


def write_config(path: Path, text: str) -> Path:
    """A configuration file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def saa_toml(root: Path, output: str = "out", optimizer: str = "", run: str = "", model: str = "") -> str:
    """A stage 1 configuration for the small world in ``root``."""
    return _toml(
        root,
        data=f'folder = "{root}/photos"\ncache = "{root}/cache_saa"\nshard_size = 4',
        model=f"lora_rank = 4\nprojector_hidden_width = 32\nprojector_depth = 1\n{model}",
        optimizer=f"batch_size = 4\nmicro_batch_size = 2\nlearning_rate = 1e-2\n{optimizer}",
        run=f'output = "{root}/{output}"\nsteps = 4\n{run}',
    )


def saa_config(root: Path, output: str = "out", **sections: str) -> SAAConfig:
    """The configuration above, loaded."""
    return load_config(write_config(root / f"{output}.toml", saa_toml(root, output, **sections)), SAAConfig)


def changed(config: Config, **sections: dict[str, Any]) -> Config:
    """A copy of ``config`` with other values: ``changed(config, run={"steps": 1})``."""
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=values) for name, values in sections.items()}
    )


def losses_of(output: Path) -> list[float]:
    """The logged loss of every step of a run."""
    return [terms["loss"] for terms in terms_of(output)]


def terms_of(output: Path) -> list[dict[str, float]]:
    """The logged step number and loss terms of every step of a run."""
    return [json.loads(line) for line in (output / "losses.jsonl").read_text().splitlines()]


def write_people(folder: Path, people: int, photos: int) -> Path:
    """Stage 2 data in the VariFace layout, without tokens."""
    for person in range(people):
        home = folder / f"p{person}"
        home.mkdir(parents=True)
        for photo in range(photos):
            write_photo(home / f"{photo}.png", person)
    return folder


def write_photo(path: Path, person: int) -> None:
    """A photo with its face prompt and its landmark map."""
    write_picture(path, person=person)
    path.with_suffix(".txt").write_text("a face " + "abcdefg"[int(path.stem) % 7])
    dots = np.zeros((96, 96), dtype=np.uint8)
    dots[np.random.default_rng(int(path.stem)).integers(0, 96, 106), np.arange(106) % 96] = 255
    Image.fromarray(dots).save(path.with_name(f"{path.stem}_landmark.png"))


def imr_toml(root: Path, output: str = "imr", optimizer: str = "", run: str = "", model: str = "") -> str:
    """A stage 2 configuration for the small world in ``root``."""
    sizes = """
width = 64
keypoint_stem_width = 2
keypoint_stages = [[4, 1], [4, 0], [8, 1], [8, 0], [8, 0]]
keypoint_width = 16
targets = 3
consistency_targets = 2
"""
    return _toml(
        root,
        data=f'folder = "{root}/people"\ncache = "{root}/cache_imr"\nshard_size = 2',
        model=f'saa = "{root}/trained/weights/SAA.bin"{sizes}{model}',
        optimizer=f"batch_size = 2\nmicro_batch_size = 1\nlearning_rate = 1e-3\n{optimizer}",
        run=f'output = "{root}/{output}"\nsteps = 3\n{run}',
    )


def _toml(root: Path, data: str, model: str, optimizer: str, run: str) -> str:
    """A configuration of these sections on the small base."""
    return f"""
[base]
model = "{root}/base"
clip_vision = "{root}/vision"
[data]
size = {SIZE}
precision = "float32"
workers = 0
{data}
[model]
{model}
[optimizer]
{optimizer}
[run]
{run}
"""


def imr_config(root: Path, output: str = "imr", **sections: str) -> IMRConfig:
    """The configuration above, loaded."""
    return load_config(write_config(root / f"{output}.toml", imr_toml(root, output, **sections)), IMRConfig)
