"""The one safetensors file that holds all networks."""

from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from dynamicid.checkpoints import load_weights
from dynamicid.checkpoints.combined import gather_tensors, save_combined
from dynamicid.checkpoints.weights import find_parts
from dynamicid.errors import DynamicIDError
from tests.checkpoints.small_files import write_small_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_small_files(tmp_path)


def test_names_and_metadata_are_the_agreed_ones(folder: Path):
    path = folder / "all.safetensors"
    save_combined(path, gather_tensors(find_parts(folder / "SAA.bin", folder / "IMR.bin")))
    with safetensors.safe_open(path, "pt") as file:
        names = set(file.keys())
        assert file.metadata() == {"format": "dynamicid", "version": "1"}
    assert {name.split(".")[0] for name in names} == {"projector", "saa", "imr", "keypoints"}
    assert "projector.perceiver_resampler.layers.0.0.to_q.weight" in names
    assert "saa.3.to_k_ip.weight" in names
    assert "keypoints.blocks.0.0.conv_block.1.num_batches_tracked" in names


def test_round_trip_is_exact(folder: Path):
    path = folder / "all.safetensors"
    save_combined(path, gather_tensors(find_parts(folder / "SAA.bin", folder / "IMR.bin")))
    before, after = load_weights(folder / "SAA.bin", folder / "IMR.bin"), load_weights(path, path)
    for name in ("projector", "imr", "keypoint_encoder"):
        one, other = getattr(before, name).state_dict(), getattr(after, name).state_dict()
        assert all(torch.equal(one[key], other[key]) for key in one)
    for one, other in zip(before.saa_layers, after.saa_layers, strict=True):
        assert all(torch.equal(one.lora[key].down, other.lora[key].down) for key in one.lora)
    assert after.source == "all.safetensors"


def test_the_imr_part_is_loaded_only_when_asked_for(folder: Path):
    path = folder / "all.safetensors"
    save_combined(path, gather_tensors(find_parts(folder / "SAA.bin", folder / "IMR.bin")))
    assert load_weights(path).imr is None
    assert load_weights(folder / "SAA.bin", path).imr is not None
    assert load_weights(path, folder / "IMR.bin").source == "all.safetensors + IMR.bin + key_point_encoder.bin"


def test_a_combined_file_without_an_imr_says_so(folder: Path):
    path = folder / "saa.safetensors"
    save_combined(path, gather_tensors(find_parts(folder / "SAA.bin")))
    with pytest.raises(DynamicIDError, match="but no IMR"):
        load_weights(path, path)


def test_a_combined_file_with_half_an_imr_says_so(folder: Path):
    path = folder / "half.safetensors"
    tensors = gather_tensors(find_parts(folder / "SAA.bin", folder / "IMR.bin"))
    save_combined(path, {name: t for name, t in tensors.items() if not name.startswith("keypoints.")})
    (folder / "key_point_encoder.bin").unlink()
    with pytest.raises(DynamicIDError, match="IMR without its key-point encoder"):
        load_weights(path, path)


def test_conversion_keeps_counters_and_refuses_overflow(folder: Path):
    parts = find_parts(folder / "SAA.bin", folder / "IMR.bin")
    tensors = gather_tensors(parts, torch.float16)
    kinds = {tensor.dtype for tensor in tensors.values()}
    assert kinds == {torch.float16, torch.int64}
    state = torch.load(folder / "IMR.bin", weights_only=True)
    state["norm_in.bias"][0] = 1e30
    torch.save(state, folder / "IMR.bin")
    with pytest.raises(DynamicIDError, match=r"'imr.norm_in.bias' holds values too large"):
        gather_tensors(find_parts(folder / "SAA.bin", folder / "IMR.bin"), torch.float16)


def test_targets_that_cannot_be_written(folder: Path):
    tensors = {"projector.a": torch.ones(2)}
    with pytest.raises(DynamicIDError, match=r"does not end in '\.safetensors'"):
        save_combined(folder / "all.bin", tensors)
    with pytest.raises(DynamicIDError, match="exists already"):
        save_combined(save_combined(folder / "a.safetensors", tensors), tensors)
    with pytest.raises(DynamicIDError, match="does not exist"):
        save_combined(folder / "no" / "a.safetensors", tensors)
    assert save_combined(folder / "a.safetensors", tensors, overwrite=True).exists()


def test_whoever_may_read_other_files_may_read_the_weights(folder: Path):
    (folder / "plain").touch()
    path = save_combined(folder / "a.safetensors", {"projector.a": torch.ones(2)})
    assert path.stat().st_mode == (folder / "plain").stat().st_mode


def test_a_failed_write_leaves_the_old_file_and_no_rest(folder: Path, monkeypatch: pytest.MonkeyPatch):
    path = save_combined(folder / "a.safetensors", {"projector.a": torch.ones(2)})
    before = path.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        Path(str(args[1])).write_bytes(b"half")
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(DynamicIDError, match=r"has no room for .* MB"):
        save_combined(path, {"projector.a": torch.zeros(2)}, overwrite=True)
    assert path.read_bytes() == before
    assert not list(folder.glob(".*"))


def test_a_read_only_folder_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(DynamicIDError, match=r"cannot be written .*Permission denied"):
        save_combined(folder / "a.safetensors", {"projector.a": torch.ones(2)})


def test_too_little_disk_is_seen_before_writing(folder: Path, monkeypatch: pytest.MonkeyPatch):
    class Usage:
        free = 3

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(DynamicIDError, match="has no room for"):
        save_combined(folder / "a.safetensors", {"projector.a": torch.ones(2)})
    assert not (folder / "a.safetensors").exists()


def test_bytes_that_come_back_different_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch):
    real = safetensors.torch.save_file

    def lossy(tensors: dict[str, torch.Tensor], path: str, **kwargs: object) -> None:
        real({name: tensor + 1 for name, tensor in tensors.items()}, path)

    monkeypatch.setattr(safetensors.torch, "save_file", lossy)
    with pytest.raises(DynamicIDError, match="came back different"):
        save_combined(folder / "a.safetensors", {"projector.a": torch.ones(2)})
    assert not list(folder.glob("*a.safetensors*"))
