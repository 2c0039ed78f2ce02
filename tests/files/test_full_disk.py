"""What commands say on a full disk: the advice must be one that the command can take."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from dynamicid.cli.app import app


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing new gets its final name."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(os, "replace", refuse)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize(
    "words",
    [
        ["curate", "photos", "--out", "out", "--face-pack", "pack"],
        ["evaluate", "drawn", "out", "--size", "64", "--most", "1"],
    ],
    ids=["curate", "evaluate"],
)
def test_the_advice_on_a_full_disk_fits_the_command(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a.png")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1, result.output
    message = " ".join(result.output.split())
    assert "The disk is full" in message
    assert "Free some space, then run it again." in message
    assert "--resume" not in message
    assert not list((tmp_path / "out").rglob(".*.partial"))
