"""The pictures that the autoencoder and the base model learn from: scenes, and one portrait in eight."""

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dynamicid.training.synthetic import Split, number_in, render_portrait, render_scene, sample_portrait, sample_scene

from .places import PICTURE_SIZE, SEED, WORK

PORTRAIT_EVERY = 8
PORTRAIT_PROMPT = "a portrait of a person"
CHUNK = 500


def draw_pictures(count: int) -> tuple[np.ndarray, list[str]]:
    """The first `count` training pictures, drawn once and kept in WORK.

    Returns:
        (count, size, size, 3) uint8, mapped from the disk, and their captions.
    """
    path = WORK / f"pictures_{count}.npy"
    if not path.exists():
        _draw(path, count)
    return np.load(path, mmap_mode="r"), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def _draw(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npy")
    shape = (count, PICTURE_SIZE, PICTURE_SIZE, 3)
    pictures = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    captions: list[str] = []
    starts = range(0, count, CHUNK)
    with ProcessPoolExecutor() as pool, tqdm(total=count, unit="picture", desc="drawing") as progress:
        for start, (drawn, said) in zip(starts, pool.map(_draw_chunk, starts), strict=True):
            part = drawn[: count - start]
            pictures[start : start + len(part)] = part
            captions += said[: len(part)]
            progress.update(len(part))
    pictures.flush()
    path.with_suffix(".json").write_text(json.dumps(captions), encoding="utf-8")
    partial.rename(path)


def _draw_chunk(start: int) -> tuple[np.ndarray, list[str]]:
    pictures, captions = [], []
    for position in range(start, start + CHUNK):
        number = number_in(Split.train, position)
        if position % PORTRAIT_EVERY == 0:
            portrait = sample_portrait(SEED, number)
            picture, annotation = render_portrait(portrait, PICTURE_SIZE)
            # Every other one says the face's motion as a face prompt does, so that those words mean something, too.
            if position % (2 * PORTRAIT_EVERY):
                captions.append(f"{PORTRAIT_PROMPT} {annotation.faces[0].prompt}")
            else:
                captions.append(annotation.caption)
        else:
            picture, annotation = render_scene(sample_scene(SEED, number), PICTURE_SIZE)
            captions.append(annotation.caption)
        pictures.append(picture)
    return np.stack(pictures), captions
