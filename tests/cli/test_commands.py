"""``convert``, ``inspect`` and the root command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dynamicid.checkpoints import load_weights
from dynamicid.cli.app import app
from tests.checkpoints.malformed import MALFORMED
from tests.checkpoints.small_files import write_small_files

PACK = Path(__file__).parents[2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_names_the_commands():
    result = run("--help")
    assert result.exit_code == 0
    assert all(word in result.output for word in ("convert", "inspect", "download"))


def test_convert_writes_one_file_and_says_what_it_found(tmp_path: Path):
    folder = write_small_files(tmp_path)
    output = folder / "all.safetensors"
    result = run("convert", folder / "SAA.bin", output, "--imr", folder / "IMR.bin")
    assert result.exit_code == 0, result.output
    for word in ("face projector", "SAA layers", "IMR", "key-point encoder", "4 layers", "fp32", "bit for bit"):
        assert word in result.output
    assert load_weights(output, output).imr is not None


@pytest.mark.parametrize(("dtype", "stored"), [("fp16", "float16"), ("bf16", "bfloat16"), ("keep", "float32")])
def test_convert_changes_the_number_format(dtype: str, stored: str, tmp_path: Path):
    folder = write_small_files(tmp_path)
    output = folder / "all.safetensors"
    assert run("convert", folder / "SAA.bin", output, "--dtype", dtype).exit_code == 0
    layer = load_weights(output).saa_layers[0]
    assert str(layer.lora["to_q"].up.dtype) == f"torch.{stored}"


def test_convert_overwrites_only_when_forced(tmp_path: Path):
    folder = write_small_files(tmp_path)
    output = folder / "all.safetensors"
    output.write_bytes(b"mine")
    result = run("convert", folder / "SAA.bin", output)
    assert result.exit_code == 1
    assert "exists already" in result.output
    assert output.read_bytes() == b"mine"
    assert run("convert", folder / "SAA.bin", output, "--force").exit_code == 0


def test_convert_takes_a_key_point_encoder_from_elsewhere(tmp_path: Path):
    folder = write_small_files(tmp_path)
    points = (folder / "key_point_encoder.bin").rename(folder / "points.bin")
    missing = run("convert", folder / "SAA.bin", folder / "a.safetensors", "--imr", folder / "IMR.bin")
    assert missing.exit_code == 1
    assert "without its key-point encoder" in missing.output
    options = ("--imr", folder / "IMR.bin", "--keypoints", points)
    assert run("convert", folder / "SAA.bin", folder / "a.safetensors", *options).exit_code == 0
    assert run("convert", folder / "SAA.bin", folder / "b.safetensors", "--keypoints", points).exit_code == 2


def test_convert_refuses_a_spoilt_file_in_one_line(tmp_path: Path):
    path = MALFORMED["nan_in_lora"](tmp_path)
    result = run("convert", path, tmp_path / "all.safetensors")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: saa: 'nan_in_lora.bin' holds NaN")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "all.safetensors").exists()


def test_inspect_describes_good_and_bad_files(tmp_path: Path):
    folder = write_small_files(tmp_path)
    good = run("inspect", folder / "SAA.bin", folder / "IMR.bin")
    assert good.exit_code == 0, good.output
    assert "published SAA (pickle" in good.output
    assert "Fits no supported base model" in good.output
    assert good.output.count("No problems found.") == 2
    bad = run("inspect", MALFORMED["lora_file"](tmp_path))
    assert bad.exit_code == 1
    assert "looks like a LoRA" in bad.output


def test_inspect_speaks_json(tmp_path: Path):
    folder = write_small_files(tmp_path)
    result = run("inspect", "--json", folder / "SAA.bin", MALFORMED["code_in_zip"](tmp_path))
    assert result.exit_code == 1
    good, bad = json.loads(result.stdout)
    assert good["kind"] == "published SAA"
    assert good["networks"][1]["details"]["layers"] == 4
    assert good["problems"] == []
    assert bad["kind"] == "unknown"
    assert "a pickle with code in it" in bad["problems"][0]


def test_the_module_runs_from_the_packs_folder(tmp_path: Path):
    command = [sys.executable, "-m", "dynamicid", "inspect", str(tmp_path / "none.bin")]
    result = subprocess.run(command, cwd=PACK, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert "does not exist" in result.stdout
    assert "Traceback" not in result.stderr


def test_the_package_itself_imports_no_command_line_library():
    code = (
        "import sys, dynamicid, dynamicid.checkpoints, dynamicid.checkpoints.published; "
        "print([name for name in ('typer', 'rich', 'huggingface_hub', 'click') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=PACK, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_missing_library_is_named(tmp_path: Path):
    code = "import sys; sys.modules['typer'] = None; from dynamicid.__main__ import main; main()"
    result = subprocess.run([sys.executable, "-c", code], cwd=PACK, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install typer rich huggingface_hub" in result.stderr
    assert "Traceback" not in result.stderr
