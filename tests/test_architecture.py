"""The rules of the house: imports run one way, and nothing heavy is loaded early."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "files": set(),
    "models": set(),
    "attention": {"models"},
    "checkpoints": {"models", "files"},
    "faces": {"models", "files"},
    "host": {"models", "attention", "checkpoints", "faces", "files"},
    "pipeline": {"models", "attention", "checkpoints", "faces", "files"},
    "synthetic": {"faces", "files"},
    "training": {"models", "checkpoints", "faces", "files", "pipeline"},
    "curation": {"faces", "files"},
    "evaluation": {"faces", "files", "synthetic"},
    "cli": {"checkpoints", "files", "training", "curation", "evaluation", "synthetic"},
}
ROOMS = tuple(MAY_IMPORT)
TOOLS_MAY_IMPORT = {
    "tiny_models": {"dynamicid", "scripts._bootstrap"},
    "demo": {"dynamicid", "scripts._bootstrap", "tiny_models.places"},
    "benchmarks": {"dynamicid", "scripts._bootstrap", "tiny_models.places", "tests"},
    "scripts": {"dynamicid", "demo", "tiny_models", "benchmarks"},
}
"""What is around the package, and the modules it may use besides its own: those of earlier entries only."""
TOOLS = tuple(TOOLS_MAY_IMPORT)
NO_NODE_ROOMS = {"pipeline", "synthetic", "training", "curation", "evaluation", "cli"}
HOST_MODULES = {
    "comfy", "comfy_api", "comfy_execution", "comfy_extras", "comfyui_version", "folder_paths", "node_helpers",
    "server",
}  # fmt: skip
TRAINING_LIBRARIES = {
    "accelerate", "diffusers", "pydantic", "skia", "tensorboard", "tomli_w", "transformers", "webdataset"
}  # fmt: skip
CURATION_LIBRARIES = {"faiss", "igraph", "imagehash", "jinja2", "pyarrow", "ray"}
EVALUATION_LIBRARIES = {"matplotlib", "requests", "torchmetrics"}
NOT_PUBLISHED = {line.strip("/") for line in (ROOT / ".comfyignore").read_text().splitlines() if line[:1] != "#"}
LATE_ONLY = {"insightface", "onnxruntime", "onnx", "typer", "rich", "huggingface_hub", "cv2", "scipy"}
TOOL_SOURCES = sorted(path for tool in TOOLS for path in (ROOT / tool).rglob("*.py"))
SOURCES = sorted((ROOT / "dynamicid").rglob("*.py")) + sorted((ROOT / "nodes").glob("*.py")) + [ROOT / "__init__.py"]


def imports(path, top_level_only=False):
    """(level, module, names) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(alias.name for alias in node.names)


def room_of(path):
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "dynamicid" and len(parts) > 2 else parts[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    room = room_of(path)
    for level, module, names in imports(path):
        root = module.split(".")[0]
        if level == 0:
            assert root not in {"dynamicid", "nodes"}, f"{module}: inside the pack only relative imports"
            assert root not in NOT_PUBLISHED, f"{module}: the registry's package has no {root}/ (.comfyignore)"
            if root in HOST_MODULES:
                assert room in {"host", "nodes"}, f"{module}: only nodes/ and dynamicid/host/ know the host"
            if root in TRAINING_LIBRARIES:
                assert room in NO_NODE_ROOMS, f"{module}: a library of the training alone"
            if root in CURATION_LIBRARIES:
                rooms = {"curation", "evaluation", "cli"} | ({"files"} if root in {"pyarrow", "jinja2"} else set())
                assert room in rooms, f"{module}: a library of the curation alone"
            if root in EVALUATION_LIBRARIES:
                assert room in {"evaluation", "cli"}, f"{module}: a library of the evaluation alone"
        elif level == 2 and room in MAY_IMPORT:
            targets = {root} if module else set(names)
            for target in targets & set(ROOMS):
                assert target in MAY_IMPORT[room] | {room}, f"{room} must not import {target}"
            assert not module.startswith("synthetic."), f"{module}: synthetic is used through its __init__.py"
            assert "nodes" not in targets
        elif room == "nodes":
            assert not NO_NODE_ROOMS & set(module.split(".")), "no node needs what training needs"


@pytest.mark.parametrize("path", TOOL_SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tools_use_the_package_and_little_of_each_other(path):
    tool, *folders = path.relative_to(ROOT).parts
    for level, module, names in imports(path):
        assert level <= len(folders), f"{'.' * level}{module}: leaves {tool}/"
        targets = {f"{module}.{name}" for name in names} or {module}
        for target in targets if level == 0 else ():
            root = target.split(".")[0]
            assert root not in HOST_MODULES or path.parent.name == "comfyui", f"{target}: only nodes know the host"
            if root in {*TOOLS, "dynamicid", "nodes", "tests"} - {tool}:
                allowed = TOOLS_MAY_IMPORT[tool]
                assert any(f"{target}.".startswith(f"{name}.") for name in allowed), f"{tool}/ must not use {target}"


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_use_earlier_tools_only(tool):
    """``scripts._bootstrap`` sets a machine up and uses nothing."""
    used = {name.split(".")[0] for name in TOOLS_MAY_IMPORT[tool] - {"scripts._bootstrap"}}
    assert used & set(TOOLS) <= set(TOOLS[: TOOLS.index(tool)])


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if room_of(path) != "cli"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_heavy_libraries_are_imported_at_first_use(path):
    """The command line is a process of its own and may."""
    for level, module, _ in imports(path, top_level_only=True):
        assert level or module.split(".")[0] not in LATE_ONLY


def test_the_core_loads_no_heavy_library():
    modules = [
        "dynamicid.checkpoints.weights",
        "dynamicid.faces.analysis",
        "dynamicid.faces.drawing",
        "dynamicid.faces.face_file",
        "dynamicid.files.pictures",
        "dynamicid.models",
    ]
    heavy = LATE_ONLY | TRAINING_LIBRARIES | CURATION_LIBRARIES | {"comfy"}
    code = f"import sys, {', '.join(modules)}; print(sorted(set(sys.modules) & {heavy!r}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_requirements_and_project_metadata_agree():
    import re

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    listed = [line.strip().rstrip(",")[1:-1] for line in block.group(1).splitlines() if line.strip()]
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    assert listed == [line for line in lines if line]
