"""Bad data is skipped and listed when the cache is made; a damaged cache is refused at the start or stepped over."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load
from webdataset.compat import WebDataset

from dynamicid.errors import DynamicIDError
from dynamicid.faces.detected import DetectedFace
from dynamicid.files.skipped import Skipped, summary
from dynamicid.synthetic.splits import Split
from dynamicid.synthetic.writing import write_variface
from dynamicid.training import shards as shards_module
from dynamicid.training.cache_imr import cache_imr
from dynamicid.training.cache_saa import cache_saa
from dynamicid.training.inputs import read_text_beside
from dynamicid.training.shards import ShardSet, open_shards
from dynamicid.training.stream import StreamBatches, StreamDataset, epoch_order, position_generator
from dynamicid.training.train_saa import train_saa

from .small_world import (
    Config,
    CountingAnalyzer,
    changed,
    imr_config,
    saa_config,
    write_folder,
    write_people,
    write_photo,
    write_picture,
)


def with_data(config: Config, folder: Path, cache: Path) -> Config:
    return changed(config, data={"folder": folder, "cache": cache})


def listed(cache: Path) -> dict[str, str]:
    lines = (line.split("\t") for line in (cache / "skipped.txt").read_text().splitlines())
    return {name: reason for name, reason in lines}


def test_bad_pictures_are_skipped_with_a_count_and_a_list(world: Path, tmp_path: Path):
    folder = write_folder(tmp_path / "photos", 6)
    (folder / "000.png").write_bytes(b"no picture")
    whole = (folder / "001.png").read_bytes()
    (folder / "001.png").write_bytes(whole[: len(whole) // 2])
    write_picture(folder / "002.png", faces=0)
    write_picture(folder / "003.png", faces=2)
    (folder / "004.txt").write_text("  \n")
    write_picture(folder / "006.png")
    for name, edge in (("007", False), ("008", True)):
        write_picture(folder / f"{name}.png", size=(20, 90), edge=edge)
        (folder / f"{name}.txt").write_text("a")
    config = with_data(saa_config(world), folder, tmp_path / "cache")
    text = cache_saa(config, CountingAnalyzer())
    assert listed(tmp_path / "cache") == {
        "000.png": "unreadable picture",
        "001.png": "unreadable picture",
        "002.png": "no face",
        "003.png": "2 faces",
        "004.png": "empty caption",
        "006.png": "missing caption",
        "008.png": "face outside the middle square",
    }
    assert "9 inputs in 3 shards; 7 skipped: 2 x unreadable picture (000.png, 001.png)" in text
    assert len(open_shards(tmp_path / "cache", "saa")) == 2


def test_captions_of_any_editor_and_what_is_no_photo(world: Path, tmp_path: Path):
    folder = write_folder(tmp_path / "photos", 5)
    (folder / "000.txt").write_bytes("für\r\n".encode("utf-8-sig"))
    (folder / "001.txt").rename(folder / "001.TXT")
    (folder / "002.txt").write_text("a", encoding="utf-16")
    (folder / "003.png").rename(folder / "003.PNG")
    write_folder(folder / "more" / "of it", 2)
    (folder / "more" / "of it" / "001.txt").write_text("")
    (folder / "clip.mov").touch()
    config = with_data(saa_config(world), folder, folder / "cache")
    text = cache_saa(config, CountingAnalyzer())
    assert "7 inputs" in text
    assert listed(folder / "cache") == {
        "002.png": "caption in UTF-16 instead of UTF-8",
        "clip.mov": "not read: .mov",
        "more/of it/001.png": "empty caption",
    }
    assert len(open_shards(folder / "cache", "saa")) == 5
    assert read_text_beside(folder / "000.png", "caption") == "für"


def test_nothing_usable_is_refused_at_the_start(world: Path, tmp_path: Path):
    folder = write_folder(tmp_path / "photos", 1)
    write_picture(folder / "000.png", faces=0)
    config = with_data(saa_config(world, "nothing"), folder, tmp_path / "cache")
    with pytest.raises(DynamicIDError, match="no finished cache"):
        train_saa(config)
    cache_saa(config, CountingAnalyzer())
    with pytest.raises(DynamicIDError, match=r"skipped\.txt"):
        train_saa(config)
    with pytest.raises(DynamicIDError, match="no training data"):
        cache_saa(with_data(config, world / "base", tmp_path / "cache"), CountingAnalyzer())
    assert not (world / "nothing").exists()


def test_bad_people_are_skipped(people: Path, tmp_path: Path):
    folder = write_people(tmp_path / "people", people=2, photos=4)
    (folder / "p0" / "0_landmark.png").unlink()
    (folder / "p0" / "1.txt").write_text("")
    for name in ("1", "2", "3"):
        (folder / "p1" / f"{name}.png").unlink()
    (folder / "empty").mkdir()
    (folder / "cache" / "p0").mkdir(parents=True)
    torch.save(torch.ones(2, 2), folder / "cache" / "p0" / "2.pt")
    for i in (4, 5):
        write_photo(folder / "p0" / f"{i}.png", person=0)
    cache_imr(with_data(imr_config(people), folder, tmp_path / "cache"), CountingAnalyzer())
    assert listed(tmp_path / "cache") == {
        "empty": "fewer than 2 usable photos of a person",
        "p0/0.png": "missing landmark map",
        "p0/1.png": "empty face prompt",
        "p0/2.png": "token file of another shape",
        "p1": "fewer than 2 usable photos of a person",
        **{f"p1/{number}.txt": "not read: .txt" for number in (1, 2, 3)},
    }
    assert open_shards(tmp_path / "cache", "imr").read(0)["tokens"].shape == (3, 4, 64)


def test_the_published_variface_layout_is_read_as_it_is(people: Path, tmp_path: Path):
    """With token files no face network is needed."""
    folder = tmp_path / "variface"
    folder.mkdir()
    for path in write_variface(folder, [3, 4], photos=2, size=48, seed=0, split=Split.train):
        (folder / "cache" / path.parent.name).mkdir(parents=True, exist_ok=True)
        number = float(path.parent.name) + float(path.stem) / 10
        torch.save(torch.full((1, 4, 64), number), folder / "cache" / path.parent.name / f"{path.stem}.pt")
    config = with_data(imr_config(people), folder, tmp_path / "cache")
    assert "nothing skipped" in cache_imr(changed(config, base={"clip_vision": None}))
    sample = open_shards(tmp_path / "cache", "imr").read(1)
    assert sample["tokens"][:, 0, 0].tolist() == pytest.approx([4.0, 4.1])
    assert sample["maps"].shape == (2, 96, 96)
    assert sample["latents"].shape == (2, 2, 4, 8, 8)
    assert 90 < int((sample["maps"][0] == 255).sum()) <= 106
    assert sample["prompts"].shape == (2, 64)


def test_caching_again_writes_only_what_is_missing(world: Path, tmp_path: Path):
    folder = write_folder(tmp_path / "photos", 10)
    config = with_data(saa_config(world), folder, tmp_path / "cache")
    cache_saa(config, CountingAnalyzer())
    shards = sorted((tmp_path / "cache").glob("*.tar"))
    before = [path.stat().st_mtime_ns for path in shards]
    content = shards[1].read_bytes()
    shards[1].write_bytes(content[:1000])
    with pytest.raises(DynamicIDError, match="cut short"):
        open_shards(tmp_path / "cache", "saa")
    cache_saa(config, CountingAnalyzer())
    assert shards[1].read_bytes() == content
    after = [path.stat().st_mtime_ns for path in shards]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    first = shards[0].read_bytes()
    for path in (shards[0], shards[0].with_suffix(".json")):
        path.unlink()
    cache_saa(config, CountingAnalyzer())
    assert shards[0].read_bytes() == first
    assert sorted((tmp_path / "cache").glob("*.tar")) == shards
    with pytest.raises(DynamicIDError, match="stage 'saa'"):
        open_shards(tmp_path / "cache", "imr")


def test_changed_photos_cost_their_own_shards_only(world: Path, tmp_path: Path):
    folder = write_folder(tmp_path / "photos", 10)
    config = with_data(saa_config(world), folder, tmp_path / "cache")
    cache_saa(config, CountingAnalyzer())

    def written() -> list[str]:
        before = times_of_shards(tmp_path / "cache")
        cache_saa(config, CountingAnalyzer())
        after = times_of_shards(tmp_path / "cache")
        return sorted(after.keys() ^ before.keys() | {name for name in after if before.get(name) != after[name]})

    assert written() == []
    (folder / "005.txt").write_text("a longer caption")
    assert written() == ["shard-000001.tar"]
    os.utime(folder / "000.png", (0, 0))
    assert written() == ["shard-000000.tar"]
    (folder / "001.png").unlink()
    assert written() == ["shard-000000.tar"]
    # The last shard of four holds two.
    write_picture(folder / "0.png")
    (folder / "0.txt").write_text("a b")
    assert written() == ["shard-000003.tar"]
    write_picture(folder / "1.png")
    (folder / "1.txt").write_text("a b")
    assert written() == ["shard-000003.tar"]
    for path in [*folder.glob("008.*"), *folder.glob("009.*")]:
        path.unlink()
    assert written() == ["shard-000002.tar"]
    assert len(open_shards(tmp_path / "cache", "saa")) == 9


def times_of_shards(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("*.tar")}


def test_a_changed_photo_of_a_person_costs_one_shard(people: Path, tmp_path: Path):
    folder = write_people(tmp_path / "people", people=5, photos=2)
    config = with_data(imr_config(people), folder, tmp_path / "cache")
    cache_imr(config, CountingAnalyzer())
    before = times_of_shards(tmp_path / "cache")
    (folder / "p2" / "1.txt").write_text("a longer prompt")
    cache_imr(config, CountingAnalyzer())
    after = times_of_shards(tmp_path / "cache")
    assert [name for name in before if before[name] != after[name]] == ["shard-000001.tar"]


def test_small_faces_and_enlarged_pictures_are_counted(world: Path, tmp_path: Path):
    folder = write_folder(tmp_path / "photos", 2)
    # The stand-in's faces are a fifth as high as the picture.
    write_picture(folder / "000.png", size=(20, 48))
    write_picture(folder / "001.png", size=(8, 8))
    config = with_data(saa_config(world), folder, tmp_path / "cache")
    text = cache_saa(config, SmallFaces())
    assert "nothing skipped; noticed: 1 x " in text
    assert sorted((tmp_path / "cache" / "noticed.txt").read_text().splitlines()) == [
        "000.png\tface below 60 px of 512",
        "001.png\tpicture enlarged to 16 px",
    ]


class SmallFaces(CountingAnalyzer):
    """Faces a tenth as high in wide pictures."""

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        faces = super().detect(image)
        left, top, right, bottom = faces[0].box_xyxy
        height = (bottom - top) / 2 if image.shape[1] > image.shape[0] else bottom - top
        return [replace(face, box_xyxy=(left, top, right, top + height)) for face in faces]


def test_the_shards_are_webdatasets(world: Path):
    paths = sorted(str(path) for path in (world / "cache_saa").glob("*.tar"))
    streamed = [load(item["safetensors"]) for item in WebDataset(paths, shardshuffle=False)]
    shards = open_shards(world / "cache_saa", "saa")
    assert len(streamed) == len(shards) == 10
    for i, sample in enumerate(streamed):
        assert all(torch.equal(value, shards.read(i)[name]) for name, value in sample.items())


def test_a_sample_that_rots_later_is_stepped_over(world: Path, tmp_path: Path):
    folder = write_folder(tmp_path / "photos", 4)
    config = with_data(saa_config(world, "rot"), folder, tmp_path / "cache")
    cache_saa(config, CountingAnalyzer())
    shard = tmp_path / "cache" / "shard-000000.tar"
    table = json.loads(shard.with_suffix(".json").read_text())
    offset, _ = table["samples"][2]
    content = bytearray(shard.read_bytes())
    content[offset : offset + 64] = b"\xff" * 64
    shard.write_bytes(content)
    train_saa(config)
    assert (world / "rot" / "weights" / "SAA.bin").is_file()
    dataset = StreamDataset(open_shards(tmp_path / "cache", "saa"), lambda sample, _: sample, seed=0)
    assert int(dataset[0, 2]["damaged"]) == 2
    assert torch.equal(dataset[0, 2]["latents"], dataset[0, 3]["latents"])


def test_the_files_of_a_cache_stay_open(world: Path, monkeypatch: pytest.MonkeyPatch):
    """Reading processes may get copies; no more than some files are open at once."""
    monkeypatch.setattr(shards_module, "MOST_OPEN", 2)
    shards = open_shards(world / "cache_saa", "saa")
    samples = [shards.read(i)["latents"] for i in range(10)]
    opened: list[Path] = []
    open_file = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **options: opened.append(path) or open_file(path, *a, **options))
    copy = pickle.loads(pickle.dumps(shards))
    for order in (range(8), range(10)):
        for i in order:
            assert torch.equal(copy.read(i)["latents"], samples[i])
    assert [path.stem[-1] for path in opened] == ["0", "1", "2"]


def fake_shards(counts: list[int]) -> ShardSet:
    starts = (0, *np.cumsum(counts).tolist())
    return ShardSet(tuple(Path(str(i)) for i in range(len(counts))), (), starts, {}, {})


def test_every_epoch_has_every_sample_once_in_another_order():
    shards = fake_shards([5, 0, 3, 7])
    orders = [epoch_order(shards, epoch, seed=1, shuffle_shards=2).tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(15)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert epoch_order(shards, 0, 1, 2).tolist() == orders[0]
    assert epoch_order(shards, 0, 2, 2).tolist() != orders[0]


def test_a_stream_goes_on_where_it_was():
    shards = fake_shards([5, 3])
    batches = StreamBatches(shards, range(0, 24), 4, seed=0, shuffle_shards=1)
    whole = list(batches)
    assert len(whole) == len(batches) == 6
    assert list(StreamBatches(shards, range(12, 24), 4, seed=0, shuffle_shards=1)) == whole[3:]
    positions = [position for batch in whole for position, _ in batch]
    assert positions == list(range(24))
    assert sorted(index for batch in whole[:2] for _, index in batch) == list(range(8))


def test_random_numbers_differ_between_positions_and_seeds():
    drawn = [torch.rand(4, generator=position_generator(seed, i)).tolist() for seed in (0, 1) for i in range(50)]
    assert len({tuple(numbers) for numbers in drawn}) == 100
    assert torch.rand(4, generator=position_generator(1, 7)).tolist() == drawn[57]


def test_samples_stay_near_one_another_so_that_shards_stream():
    order = epoch_order(fake_shards([100] * 10), 0, seed=0, shuffle_shards=2)
    for first in range(0, 1000, 200):
        assert len(set(order[first : first + 200] // 100)) == 2


def test_the_summary_counts_reasons():
    skipped = [Skipped(f"{i}.png", "no face") for i in range(7)] + [Skipped("x.png", "empty caption")]
    assert summary(skipped) == (
        "8 skipped: 7 x no face (0.png, 1.png, 2.png, 3.png, 4.png, ...); 1 x empty caption (x.png)"
    )
    assert summary([]) == "nothing skipped"
