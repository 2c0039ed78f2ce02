"""The package of the registry: comfy-cli accepts it, and it has only what users need and no text that is flagged."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import dynamicid
from tests.registry_package import ROOT, Packing

TOP = {
    "__init__.py", "dynamicid", "nodes", "web", "locales", "workflows", "subgraphs", "docs", "README.md",
    "CHANGELOG.md", "LICENSE", "pyproject.toml", "requirements.txt", "requirements-training.txt",
    "requirements-curation.txt",
    "requirements-evaluation.txt",
}  # fmt: skip
MOST_BYTES = 4_000_000
FLAGGED = re.compile(rb"os\.environ|\.eval\(|exec\(|subprocess|requests\.get\(|urlopen|\.connect\(")


def test_comfy_cli_validates_without_a_warning(packing: Packing) -> None:
    said = packing.run("validate")
    assert "All validation checks passed" in said
    assert "Warning" not in said


def test_the_registry_reads_the_projects_data() -> None:
    """With the registry's own reader; its limits: an icon of 400 x 400 pixels, a banner of 21:9."""
    from comfy_cli.registry.config_parser import extract_node_configuration

    config = extract_node_configuration(str(ROOT / "pyproject.toml"))
    assert config is not None
    project, comfy = config.project, config.tool_comfy
    assert project.version == dynamicid.__version__
    assert "comfyui" not in project.name.lower()
    assert project.supported_comfyui_version
    assert project.supported_os == ["OS Independent"]
    assert project.supported_accelerators
    assert project.urls.documentation.startswith(project.urls.repository)
    assert project.urls.issues.startswith(project.urls.repository)
    icon, banner = (Image.open(ROOT / url.split("/main/")[1]) for url in (comfy.icon, comfy.banner_url))
    assert max(icon.size) <= 400
    assert banner.width * 9 == banner.height * 21


def test_the_package_has_what_users_need_and_nothing_else(packed: Path) -> None:
    assert {path.name for path in packed.iterdir()} == TOP
    assert sum(path.stat().st_size for path in packed.rglob("*") if path.is_file()) <= MOST_BYTES


def test_no_file_has_text_that_the_registry_flags(packed: Path) -> None:
    files = [path for path in packed.rglob("*") if path.is_file()]
    found = {str(path.relative_to(packed)): set(FLAGGED.findall(path.read_bytes())) for path in files}
    assert len(found) > 100
    assert {name: texts for name, texts in found.items() if texts} == {}


@pytest.mark.parametrize("line", (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
def test_manager_installs_every_line_by_itself(line: str) -> None:
    """As ComfyUI-Manager does: without its comment, one pip call a line. Here every one is met already."""
    requirement = line.split("#")[0].strip()
    if requirement:
        command = [sys.executable, "-m", "pip", "install", "--no-index", "--dry-run", requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Would install" not in done.stdout
