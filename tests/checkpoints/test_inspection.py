"""What ``inspect_file`` says about good, odd and bad files."""

from pathlib import Path

import torch

from dynamicid.checkpoints.bases import SD15_BLOCK_WIDTHS
from dynamicid.checkpoints.inspection import inspect_file
from tests.checkpoints.malformed import MALFORMED
from tests.checkpoints.small_files import published_saa, rule_network, saa_state, small_projector, write_small_files


def test_a_small_file_is_described(tmp_path: Path):
    folder = write_small_files(tmp_path)
    report = inspect_file(folder / "SAA.bin")
    assert (report.kind, report.container, report.problems, report.fits) == ("published SAA", "pickle", (), None)
    assert "Fits no supported base model (SD1.5: 32 layers, text 768): it has 4 layers" in report.notes[0]
    projector, saa = report.networks
    expected = small_projector()
    assert projector.parameters == sum(p.numel() for p in expected.parameters())
    assert projector.size == 4 * projector.parameters
    assert projector.details["depth"] == 2
    assert projector.details["heads"] == 2
    assert saa.details["rank"] == 4
    assert saa.details["layer_widths"] == [64, 64, 128, 128]


def test_the_imr_and_its_encoder(tmp_path: Path):
    folder = write_small_files(tmp_path)
    assert inspect_file(folder / "IMR.bin").kind == "published IMR"
    assert inspect_file(folder / "IMR.bin").problems == ()
    encoder = inspect_file(folder / "key_point_encoder.bin").networks[0]
    assert encoder.details["stages"] == ((4, 1), (8, 0), (8, 2), (8, 1), (16, 1))
    (folder / "key_point_encoder.bin").unlink()
    assert "without its key-point encoder" in inspect_file(folder / "IMR.bin").problems[0]


def test_sd15_widths_are_recognised(tmp_path: Path):
    widths = tuple(width for width in SD15_BLOCK_WIDTHS for _ in range(2))
    saa = saa_state(widths, text_width=768, rank=1)
    torch.save({"proj_module": rule_network("projector", small_projector()), "SAA_module": saa}, tmp_path / "SAA.bin")
    assert inspect_file(tmp_path / "SAA.bin").fits == "SD1.5"


def test_the_older_names_get_a_note(tmp_path: Path):
    state = published_saa()
    torch.save({"image_proj": state["proj_module"], "ip_adapter": state["SAA_module"]}, tmp_path / "old.bin")
    report = inspect_file(tmp_path / "old.bin")
    assert report.kind == "SAA, older training output"
    assert "IP-Adapter FaceID Plus" in report.notes[-1]


def test_every_spoilt_file_has_a_problem(tmp_path: Path):
    for name, write in MALFORMED.items():
        folder = tmp_path / name
        folder.mkdir()
        report = inspect_file(write(folder))
        sound_elsewhere = name in ("imr_file", "keypoint_file")
        assert report.problems or sound_elsewhere, name
