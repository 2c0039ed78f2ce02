"""Safetensors files: the same content gives the same bytes, for whoever may read other files."""

from pathlib import Path

import torch
from safetensors import safe_open

from dynamicid.files.tensors import write_tensors

METADATA = {name: name * 3 for name in ("format", "version", "emotion", "größe", "crop")}


def test_the_same_tensors_are_the_same_bytes_with_the_rights_of_any_file(tmp_path: Path):
    tensors = {"b": torch.arange(6).view(2, 3), "a": torch.ones(4)}
    (tmp_path / "plain").touch()
    for number in range(6):
        write_tensors(tmp_path / str(number), tensors, METADATA)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(6)}) == 1
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {(tmp_path / "plain").stat().st_mode}
    with safe_open(tmp_path / "0", "pt") as file:
        assert file.metadata() == METADATA
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in tensors.items())
