"""Every spoilt file is refused in words, and no code in any of them runs."""

from pathlib import Path

import pytest
import torch

from dynamicid.checkpoints import load_weights
from dynamicid.errors import DynamicIDError
from tests.checkpoints.malformed import CANARY, EXPECTED_TEXT, MALFORMED
from tests.checkpoints.small_files import published_saa


@pytest.mark.parametrize("name", MALFORMED)
def test_a_spoilt_file_is_refused_and_nothing_in_it_runs(name: str, tmp_path: Path):
    path = MALFORMED[name](tmp_path)
    with pytest.raises(DynamicIDError) as refusal:
        load_weights(path)
    assert EXPECTED_TEXT[name] in refusal.value.found + " " + refusal.value.remedy
    assert path.name in refusal.value.found
    assert refusal.value.where == "saa"
    assert refusal.value.remedy
    assert not (tmp_path / CANARY).exists()


def test_the_canary_would_sing(tmp_path: Path):
    """The code in the spoilt pickles does run where a file is unpickled blindly."""
    torch.load(MALFORMED["code_in_zip"](tmp_path), weights_only=False)
    assert (tmp_path / CANARY).is_dir()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_anywhere_is_refused(legacy: bool, tmp_path: Path):
    path = tmp_path / "SAA.bin"
    torch.save(published_saa(), path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    for length in [1, 2, 3, 9, 25, *range(60, len(data), len(data) // 25), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(DynamicIDError, match=r"truncated or damaged|not a PyTorch file"):
            load_weights(path)


def test_a_damaged_pickle_never_raises_anything_else(tmp_path: Path):
    """Single bytes changed all over the instructions: the file loads or is refused in words."""
    path = tmp_path / "SAA.bin"
    torch.save(published_saa(), path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    refused, positions = 0, range(0, 9000, 61)
    for position in positions:
        spoilt = bytearray(data)
        spoilt[position] ^= 0x5A
        path.write_bytes(spoilt)
        try:
            load_weights(path)
        except DynamicIDError:
            refused += 1
    assert 0 < refused < len(positions)
