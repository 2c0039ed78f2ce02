"""What the cache holds is what the networks say, through the command line, real face networks and several processes."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load
from tqdm import tqdm
from typer.testing import CliRunner

from dynamicid import __version__
from dynamicid.checkpoints import load_weights
from dynamicid.cli.app import app
from dynamicid.errors import DynamicIDError
from dynamicid.faces.analysis import load_face_analysis
from dynamicid.faces.detected import DetectedFace
from dynamicid.files.pictures import read_picture
from dynamicid.pipeline.preprocessing import clip_pixels, training_pixels
from dynamicid.pipeline.stable_diffusion import encode_pictures, encode_text, load_base, load_clip_vision, vision_states
from dynamicid.training import caching, processes, readers
from dynamicid.training.augmentation import crop_boxes
from dynamicid.training.cache_imr import cache_imr
from dynamicid.training.cache_saa import PortraitReader, cache_saa
from dynamicid.training.caching import check_fingerprint
from dynamicid.training.processes import make_accelerator
from dynamicid.training.shards import open_shards
from dynamicid.training.stream import position_generator
from dynamicid.training.train_imr import train_imr
from dynamicid.training.train_saa import draw_inputs, train_saa
from tests.standin.onnx_pack import write_onnx_pack
from tests.standin.painted_faces import DEFAULT_TONES, draw_test_faces

from .launching import ROOT, launch_two
from .small_world import (
    CountingAnalyzer,
    changed,
    imr_config,
    imr_toml,
    saa_config,
    saa_toml,
    write_config,
    write_people,
)

FACES = [(60, 50, 136, 150), (200, 60, 276, 160)]


@pytest.mark.slow
def test_from_a_folder_to_weights_with_real_face_networks(world: Path, tmp_path: Path):
    write_onnx_pack(tmp_path / "pack")
    (tmp_path / "photos").mkdir()
    for i in range(4):
        picture = draw_test_faces((240, 320), FACES[i % 2 : i % 2 + 1], tones=DEFAULT_TONES[i : i + 1])
        Image.fromarray(picture).save(tmp_path / "photos" / f"{i}.png")
        (tmp_path / "photos" / f"{i}.txt").write_text("a face")
    for name, boxes in (("none", []), ("two", FACES)):
        Image.fromarray(draw_test_faces((240, 320), boxes)).save(tmp_path / "photos" / f"{name}.png")
        (tmp_path / "photos" / f"{name}.txt").write_text("a face")
    text = saa_toml(world).replace(f'"{world}/photos"', '"photos"').replace(f'"{world}/cache_saa"', '"cache"')
    text = text.replace(f'"{world}/out"', '"out"').replace("[data]", 'face_pack = "pack"\n[data]')
    path = write_config(tmp_path / "saa.toml", text)
    cached = CliRunner().invoke(app, ["cache", "saa", "--config", str(path)])
    assert cached.exit_code == 0, cached.output
    assert "6 inputs in 2 shards; 2 skipped: 1 x no face (none.png); 1 x 2 faces (two.png)" in cached.output
    face = load_face_analysis(tmp_path / "pack", "CPU").detect(read_picture(tmp_path / "photos" / "0.png"))[0]
    sample = open_shards(tmp_path / "cache", "saa").read(0)
    assert np.allclose(sample["id_embedding"], face.embedding)
    trained = CliRunner().invoke(app, ["train", "saa", "--config", str(path)])
    assert trained.exit_code == 0, trained.output
    assert load_weights(tmp_path / "out" / "weights" / "SAA.bin").projector.id_width == 512


@pytest.mark.parametrize("reference", ["portrait", "picture"])
def test_a_sample_is_what_the_frozen_networks_say(reference: str, world: Path, tmp_path: Path):
    config = saa_config(world)
    cache_saa(changed(config, data={"cache": tmp_path / "cache", "reference": reference}), CountingAnalyzer())
    shards, base = open_shards(tmp_path / "cache", "saa"), load_base(config.base.model)
    vision = load_clip_vision(config.base.clip_vision)
    image, caption = read_picture(world / "photos" / "003.png"), (world / "photos" / "003.txt").read_text()
    sample = shards.read(3)
    assert torch.allclose(sample["latents"], encode_pictures(base, training_pixels(image, 16)[None])[0], atol=1e-5)
    assert torch.allclose(sample["text"], encode_text(base, [caption])[0][0], atol=1e-5)
    whole = vision_states(vision, clip_pixels(image, 28)[None])[0]
    assert torch.allclose(sample["clip_hidden"], whole, atol=1e-5) == (reference == "picture")
    assert torch.allclose(shards.common["zero_hidden"], vision_states(vision, torch.zeros(1, 3, 28, 28))[0], atol=1e-5)
    assert torch.allclose(shards.common["empty_text"], encode_text(base, [""])[0][0], atol=1e-5)
    assert sample["clip_hidden"].shape == (5, 32)


class MirrorAnalyzer(CountingAnalyzer):
    """Reads the mark in the first pixel of a row wherever it is after mirroring."""

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        if image[0, 0, 0] == 1 and image[0, 0, 2] < 2:
            return super().detect(image)
        faces, width = super().detect(image[:, ::-1]), image.shape[1]
        boxes = [
            (width - face.box_xyxy[2], face.box_xyxy[1], width - face.box_xyxy[0], face.box_xyxy[3]) for face in faces
        ]
        return [replace(face, box_xyxy=box, embedding=-face.embedding) for face, box in zip(faces, boxes, strict=True)]


def test_mirrored_photos_and_crops_are_further_samples(world: Path, tmp_path: Path):
    photos = Path(shutil.copytree(world / "photos", tmp_path / "photos"))
    (photos / "000.txt").write_text("a Left b, right now")
    data = {"folder": photos, "cache": tmp_path / "cache", "flip": True, "crops": 3}
    config = changed(saa_config(world), data=data)
    assert "10 inputs in 3 shards; nothing skipped" in cache_saa(config, MirrorAnalyzer())
    shards, base = open_shards(tmp_path / "cache", "saa"), load_base(config.base.model)
    assert len(shards) == 10 * 2 * 3
    samples, plain = [shards.read(i) for i in range(6)], open_shards(world / "cache_saa", "saa").read(0)
    assert torch.allclose(samples[0]["latents"], plain["latents"], atol=1e-5)
    image = read_picture(photos / "000.png")[:, ::-1]
    expected = encode_pictures(base, training_pixels(np.ascontiguousarray(image), 16)[None])[0]
    assert torch.allclose(samples[3]["latents"], expected, atol=1e-5)
    text = encode_text(base, ["a Right b, left now"])[0][0]
    for i, sample in enumerate(samples):
        assert torch.allclose(sample["text"], text, atol=1e-5) == (i >= 3)
        assert torch.equal(sample["id_embedding"], plain["id_embedding"] * (-1 if i >= 3 else 1))
        assert sum(torch.equal(sample["latents"], other["latents"]) for other in samples) == 1


def test_crops_hold_the_face_and_depend_on_the_name_only():
    boxes = crop_boxes((70, 10, 90, 30), height=60, width=100, count=50, name="a")
    assert boxes[0] == (20, 0, 80, 60)
    for left, top, right, bottom in boxes[1:]:
        assert right - left == bottom - top >= 36
        assert 0 <= left <= 70
        assert 90 <= right <= 100
        assert 0 <= top <= 10
        assert 30 <= bottom <= 60
    assert len(set(boxes)) > 40
    assert crop_boxes((70, 10, 90, 30), 60, 100, 50, "a") == boxes != crop_boxes((70, 10, 90, 30), 60, 100, 50, "b")
    # A face larger than the crop lies in its middle.
    (_, (left, _, right, _)) = crop_boxes((0, 0, 100, 60), height=60, width=100, count=2, name="a")
    assert (left + right) / 2 == pytest.approx(50, abs=1)


def test_a_mirrored_person_is_another_sample(people: Path, tmp_path: Path):
    config = changed(imr_config(people), data={"cache": tmp_path / "cache", "flip": True})
    cache_imr(config, MirrorAnalyzer())
    shards, plain = open_shards(tmp_path / "cache", "imr"), open_shards(people / "cache_imr", "imr").read(0)
    assert len(shards) == 10
    assert torch.equal(shards.read(0)["maps"], plain["maps"])
    assert torch.equal(shards.read(1)["maps"], plain["maps"].flip(-1))
    assert torch.allclose(shards.read(0)["tokens"], plain["tokens"], atol=1e-5)
    assert not torch.allclose(shards.read(1)["tokens"], plain["tokens"], atol=1e-3)


def test_pooled_prompts_are_the_state_at_the_end_of_the_text(world: Path):
    states, pooled = encode_text(load_base(saa_config(world).base.model), ["a b c", "a"])
    assert torch.equal(pooled[0], states[0, 4])
    assert torch.equal(pooled[1], states[1, 2])


def test_faces_and_texts_are_dropped_as_often_as_set(world: Path):
    config = saa_config(world, model="drop_face = 0.1\ndrop_text = 0.2\ndrop_both = 0.3")
    shards = open_shards(config.data.cache, "saa")
    sample = shards.read(0)
    counts = {"face": 0, "text": 0, "both": 0}
    timesteps, latents, noises = set(), [], []
    for position in range(4000):
        row = draw_inputs(sample, shards.common, config.model, 1000, position_generator(1, position))
        face = not bool(row["id_embedding"].any())
        text = torch.equal(row["text"], shards.common["empty_text"])
        assert face == torch.equal(row["clip_hidden"], shards.common["zero_hidden"])
        if face or text:
            counts["both" if face and text else "face" if face else "text"] += 1
            assert not face or not torch.equal(row["clip_hidden"], sample["clip_hidden"])
        else:
            assert all(torch.equal(row[name], sample[name]) for name in ("text", "id_embedding", "clip_hidden"))
        timesteps.add(int(row["timesteps"]))
        latents.append(row["latents"])
        noises.append(row["noise"])
    shares = [counts[name] / 4000 for name in ("face", "text", "both")]
    assert shares == pytest.approx([0.1, 0.2, 0.3], abs=0.03)
    assert min(timesteps) < 10
    assert max(timesteps) > 989
    mean, deviation = sample["latents"]
    drawn = (torch.stack(latents) - mean) / deviation
    for normal in (drawn, torch.stack(noises)):
        assert float(normal.mean()) == pytest.approx(0, abs=0.02)
        assert float(normal.std()) == pytest.approx(1, abs=0.02)


def test_the_noisiest_timesteps_can_be_left_out(world: Path):
    config = saa_config(world, model="max_timestep = 800")
    shards = open_shards(config.data.cache, "saa")
    sample = shards.read(0)
    rows = (draw_inputs(sample, shards.common, config.model, 1000, position_generator(1, i)) for i in range(1000))
    assert 780 < max(int(row["timesteps"]) for row in rows) < 800


def test_training_may_choose_a_precision_after_a_cache_in_the_same_process(world: Path):
    config = saa_config(world, "after", run='mixed_precision = "bf16"')
    cache_saa(config, CountingAnalyzer())
    assert make_accelerator(config).mixed_precision == "bf16"


class Process:
    """Stands for one of two processes, of which only this one is at work."""

    num_processes, device = 2, torch.device("cpu")

    def __init__(self, index: int, is_main_process: bool = False) -> None:
        self.process_index = self.local_process_index = index
        self.is_main_process = is_main_process

    def wait_for_everyone(self) -> None:
        pass


def test_missing_shards_are_dealt_out(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = Path(shutil.copytree(world / "cache_saa", tmp_path / "cache"))
    config = changed(saa_config(world), data={"cache": cache})
    for number in (0, 2):
        for suffix in ("tar", "json"):
            (cache / f"shard-{number:06d}.{suffix}").unlink()
    settings = {**caching.data_settings(config.data), "networks": caching.cache_fingerprint(config.base)}
    plan = caching._make_plan(config.data, False, {"stage": "saa", "settings": settings})
    monkeypatch.setattr(caching, "broadcast_object_list", lambda _: [plan])
    for index, there in ((1, [1, 2]), (0, [0, 1, 2])):
        monkeypatch.setattr(caching, "process_state", lambda index=index: Process(index))
        assert cache_saa(config, CountingAnalyzer()) == ""
        assert [int(path.stem[6:]) for path in sorted(cache.glob("*.json"))] == there


def test_the_first_process_counts_the_samples_of_all_up_to_the_last(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache, others = (Path(shutil.copytree(world / "cache_saa", tmp_path / name)) for name in ("cache", "others"))
    for number in (0, 2):
        (cache / f"shard-{number:06d}.json").unlink()
    shown: list[float] = []

    class Progress(tqdm):
        def refresh(self, *_: object, **__: object) -> None:
            shown.append(self.n)

    def other_process_works(_: float) -> None:
        shutil.copy2(others / "shard-000002.json", cache)

    monkeypatch.setattr(caching, "tqdm", Progress)
    monkeypatch.setattr(caching, "process_state", lambda: Process(0, is_main_process=True))
    monkeypatch.setattr(caching, "broadcast_object_list", lambda shared: shared)
    monkeypatch.setattr(caching, "time", SimpleNamespace(sleep=other_process_works))
    text = cache_saa(changed(saa_config(world), data={"cache": cache}), CountingAnalyzer())
    own, others_too = (len(json.loads((cache / f"shard-{n:06d}.json").read_text())["inputs"]) for n in (0, 2))
    assert shown[-3:] == [own, own, own + others_too]
    assert "in 3 shards" in text


def test_a_process_opens_face_networks_on_its_own_card_with_its_share_of_processors(
    world: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16), raising=False)
    monkeypatch.setattr(readers, "process_state", lambda: Process(1))
    opened = {}
    monkeypatch.setattr(readers, "load_face_analysis", lambda folder, **options: opened.update(options))
    reader = PortraitReader(changed(saa_config(world), base={"face_pack": world}, data={"workers": 4}))
    assert reader.analyzer is None
    assert opened == {"threads": 2, "device": 1}


def test_processes_wait_for_one_another_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch):
    options = {}
    monkeypatch.setattr(processes, "PartialState", lambda **given: options.update(given))
    processes.process_state()
    assert options["timeout"].days == 30


@pytest.mark.slow
def test_worker_processes_read_the_same(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readers, "PHOTOS_PER_WORKER", 5)
    photos = Path(shutil.copytree(world / "photos", tmp_path / "photos"))
    (photos / "004.txt").write_text("")
    caches = [tmp_path / name for name in ("alone", "workers")]
    # Worker processes find the class by this name: ahead of the folder of ComfyUI, which has a package "tests", too.
    monkeypatch.syspath_prepend(ROOT)
    analyzer = import_module("tests.training.small_world").CountingAnalyzer()
    for cache, workers in zip(caches, (0, 2), strict=True):
        config = changed(saa_config(world), data={"folder": photos, "cache": cache, "workers": workers})
        text = cache_saa(config, analyzer)
        assert "1 x empty caption (004.png); " in text
        assert "ms per photo: " in text
    for path in caches[0].glob("*.tar"):
        assert path.read_bytes() == (caches[1] / path.name).read_bytes()
    # An error of the configuration ends the command.
    config = changed(config, data={"cache": tmp_path / "none"})
    with pytest.raises(DynamicIDError, match=r"base\.face_pack"):
        cache_saa(config)


def test_the_frozen_networks_run_in_the_precision_of_the_run(world: Path, tmp_path: Path):
    config = changed(saa_config(world), data={"cache": tmp_path / "cache"}, run={"mixed_precision": "bf16"})
    encoders = caching.Encoders(config)
    networks = (encoders.base.vae, encoders.base.text_encoder, encoders.vision)
    assert {network.dtype for network in networks} == {torch.bfloat16}
    cache_saa(config, CountingAnalyzer())
    one, other = (open_shards(cache, "saa").read(0) for cache in (world / "cache_saa", tmp_path / "cache"))
    for name, value in one.items():
        assert other[name].dtype == torch.float32
        assert torch.allclose(value, other[name], atol=0.1), name
    assert not torch.equal(one["latents"], other["latents"])


@pytest.mark.slow
def test_two_processes_write_the_shards_of_one(people: Path, tmp_path: Path):
    folder = write_people(tmp_path / "people", people=5, photos=2)
    for photo in folder.glob("p*/?.png"):
        (folder / "cache" / photo.parent.name).mkdir(parents=True, exist_ok=True)
        torch.save(torch.ones(1, 4, 64), folder / "cache" / photo.parent.name / f"{photo.stem}.pt")
    config = imr_config(people)
    cache_imr(changed(config, data={"folder": folder, "cache": tmp_path / "one"}))
    text = imr_toml(people).replace(f"{people}/cache_imr", f"{tmp_path}/two")
    text = text.replace(f"{people}/people", f"{folder}")
    path = write_config(tmp_path / "two.toml", text)
    done = launch_two("cache", "imr", "--config", path, program="-m tests.training.late_common")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("5 inputs in 3 shards; nothing skipped") == 1
    one, two = (open_shards(tmp_path / name, "imr") for name in ("one", "two"))
    assert len(one) == len(two) == 5
    for i in range(5):
        assert all(torch.allclose(value, two.read(i)[name], atol=1e-5) for name, value in one.read(i).items())


def test_the_table_of_a_shard_keeps_its_form(world: Path):
    """Caches written by earlier versions are complete, not computed again."""
    table = json.loads((world / "cache_saa" / "shard-000001.json").read_text())
    shard = world / "cache_saa" / "shard-000001.tar"
    encoders = [path for part in ("text_encoder", "vae") for path in (world / "base" / part).glob("*.safetensors")]
    (vision,) = (world / "vision").glob("*.safetensors")
    networks = {"base.model": digest_of(*encoders), "base.clip_vision": digest_of(vision), "base.face_pack": ""}
    assert table == {
        "format": 2,
        "pack": __version__,
        "about": {
            "stage": "saa",
            "settings": {
                "size": 16,
                "reference": "portrait",
                "precision": "float32",
                "flip": False,
                "crops": 1,
                "networks": networks,
            },
        },
        "inputs": {
            name: state_of_photo(world / "photos" / name) for name in ("004.png", "005.png", "006.png", "007.png")
        },
        "bytes": shard.stat().st_size,
        "samples": table["samples"],
        "skipped": [],
        "noticed": [],
    }
    offset, size = table["samples"][1]
    assert load(shard.read_bytes()[offset : offset + size]).keys() == {"latents", "text", "clip_hidden", "id_embedding"}


def state_of_photo(path: Path) -> str:
    """Names, sizes and times of a photo and its caption."""
    files = [(file.name, file.stat()) for file in (path, path.with_suffix(".txt"))]
    lines = "\n".join(f"{name}\t{status.st_size}\t{int(status.st_mtime)}" for name, status in files)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


@pytest.fixture
def early_cache(world: Path, tmp_path: Path) -> Path:
    """The cache of stage 1 in the first format."""
    cache = Path(shutil.copytree(world / "cache_saa", tmp_path / "early"))
    for path in cache.glob("*.json"):
        table = json.loads(path.read_text())
        names = "\n".join(table["inputs"]).encode()
        table["about"]["inputs"] = hashlib.sha256(names).hexdigest()[:16]
        path.write_text(json.dumps({key: table[key] for key in ("about", "bytes", "samples", "skipped")}))
    return cache


def test_an_early_cache_is_trained_on_and_not_taken_for_a_new_one(world: Path, early_cache: Path):
    config = changed(saa_config(world, "early"), data={"cache": early_cache}, run={"steps": 1})
    train_saa(config)
    with pytest.raises(DynamicIDError, match=r"data\.cache.*earlier version.*delete the folder"):
        cache_saa(config, CountingAnalyzer())


def test_a_cache_of_a_later_version_is_refused_by_name(early_cache: Path):
    table = early_cache / "shard-000001.json"
    table.write_text(json.dumps({**json.loads(table.read_text()), "format": 3, "pack": "9.1"}))
    with pytest.raises(DynamicIDError, match=r"shard-000001\.json.* in format 3 by version 9\.1"):
        open_shards(early_cache, "saa")


@pytest.mark.parametrize(
    ("key", "value"), [("size", 24), ("reference", "picture"), ("precision", "float16"), ("flip", True), ("crops", 2)]
)
def test_stage_1_refuses_a_cache_of_other_settings(key: str, value: object, world: Path):
    config = saa_config(world, "other_settings")
    before = getattr(config.data, key)
    with pytest.raises(DynamicIDError, match=rf"data\.{key}: It is {value!r}; .* was made with {before!r}"):
        train_saa(changed(config, data={key: value}))


def test_stage_2_refuses_a_cache_of_another_prompt(people: Path):
    with pytest.raises(DynamicIDError, match=r"model\.prompt: It is 'a b'; .* was made with 'portrait"):
        train_imr(imr_config(people, "other_prompt", model='prompt = "a b"'))


def test_stage_1_refuses_a_cache_of_another_text_encoder(world: Path, tmp_path: Path):
    base = Path(shutil.copytree(world / "base", tmp_path / "base"))
    (weights,) = (base / "text_encoder").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(DynamicIDError, match=r"base\.model.*computed with other weights"):
        train_saa(changed(saa_config(world, "other_text"), base={"model": base}))


def digest_of(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def test_a_cache_of_other_networks_is_refused_and_made_again(people: Path, tmp_path: Path):
    config = imr_config(people)
    saa = Path(shutil.copy(config.model.saa, tmp_path / "SAA.bin"))
    config = changed(config, model={"saa": saa}, data={"cache": tmp_path / "cache"})
    cache_imr(config, CountingAnalyzer())
    shards = open_shards(config.data.cache, "imr")
    check_fingerprint(shards, config.base, config.model.saa)
    # The same file under another name is the same.
    check_fingerprint(shards, config.base, saa.rename(tmp_path / "renamed.bin"))
    tokens = shards.read(0)["tokens"]

    state = torch.load(tmp_path / "renamed.bin", weights_only=True)
    scaled = {part: {key: value * 1.5 for key, value in tensors.items()} for part, tensors in state.items()}
    torch.save(scaled, saa)
    with pytest.raises(DynamicIDError, match=r"model\.saa.*was computed with other weights.*cache"):
        train_imr(config)
    cache_imr(config, CountingAnalyzer())
    assert not torch.equal(open_shards(config.data.cache, "imr").read(0)["tokens"], tokens)

    text_encoder, *_ = (people / "base" / "text_encoder").glob("*.safetensors")
    base = shutil.copytree(people / "base", tmp_path / "base")
    other = changed(config, base={"model": base}).base
    unet, *_ = (base / "unet").glob("*.safetensors")
    unet.write_bytes(unet.read_bytes() + b" ")
    check_fingerprint(shards, other)
    (base / "text_encoder" / text_encoder.name).write_bytes(text_encoder.read_bytes() + b" ")
    with pytest.raises(DynamicIDError, match=r"base\.model"):
        check_fingerprint(shards, other)
