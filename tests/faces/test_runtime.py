"""The installed onnxruntime: distributions that overwrite each other, half-removed ones, and the remedies."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.faces import runtime
from dynamicid.faces.providers import available_providers
from dynamicid.faces.runtime import diagnose_cuda_version, diagnose_onnxruntime, import_onnxruntime
from tests.faces.conftest import FakeMachine

PIP = f'"{sys.executable}" -m pip install'
REPAIR = f"{PIP} --force-reinstall --no-deps onnxruntime-gpu"
REPAIR_CUDA_12 = f'{PIP} --force-reinstall --no-deps "onnxruntime-gpu<1.27"'
BOTH = ("onnxruntime", "onnxruntime-gpu")
ON_CPU = ["AzureExecutionProvider", "CPUExecutionProvider"]
ON_CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize(("cuda", "repair"), [("13.0", REPAIR), ("12.8", REPAIR_CUDA_12), (None, REPAIR)])
@pytest.mark.parametrize(
    ("installed", "offered"),
    [(BOTH, ON_CPU), (BOTH, []), (BOTH, None), (("onnxruntime-gpu",), []), (("onnxruntime-gpu",), None)],
)
def test_one_command_mends_every_mixed_state(
    installed: tuple[str, ...], offered: list[str] | None, cuda: str | None, repair: str, fake_machine: FakeMachine
) -> None:
    """The CPU build on top of the GPU one, an empty folder left behind, and files that do not import."""
    fake_machine(installed, offered, has_cuda=True, cuda_version=cuda)
    assert (diagnose_onnxruntime() or "").endswith(f"it with: {repair}")
    assert "uninstall" not in (diagnose_onnxruntime() or "")
    if not offered:
        with pytest.raises(DynamicIDError) as caught:
            import_onnxruntime()
        assert str(caught.value).endswith(f"Repair it with: {repair}, then restart ComfyUI.")


def test_damage_is_named_without_a_card_too(fake_machine: FakeMachine) -> None:
    fake_machine(BOTH, [])
    assert (diagnose_onnxruntime() or "").endswith(REPAIR)
    with pytest.raises(DynamicIDError, match=r"^provider: The installed onnxruntime is damaged"):
        import_onnxruntime()
    assert available_providers() == ["auto", "CPU"]


def test_damaged_cpu_build_on_a_cpu_machine_is_mended_in_kind(fake_machine: FakeMachine) -> None:
    fake_machine(["onnxruntime"], [])
    assert (diagnose_onnxruntime() or "").endswith(f"{PIP} --force-reinstall --no-deps onnxruntime")


@pytest.mark.parametrize(("has_cuda", "wanted"), [(False, "onnxruntime"), (True, '"onnxruntime-gpu<1.27"')])
def test_missing_onnxruntime_gives_the_command_for_this_machine(
    has_cuda: bool, wanted: str, fake_machine: FakeMachine
) -> None:
    fake_machine([], None, has_cuda, cuda_version="12.8")
    assert diagnose_onnxruntime() is None
    with pytest.raises(DynamicIDError) as caught:
        import_onnxruntime()
    assert str(caught.value).startswith("provider: The Python package onnxruntime cannot be imported")
    assert str(caught.value).endswith(f"Install it with: {PIP} {wanted}, then restart ComfyUI.")


def test_package_that_onnxruntime_lacks_is_installed_with_its_requirements(
    fake_machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--no-deps would not bring it."""
    fake_machine(["onnxruntime"], ON_CPU)

    def fail(name: str) -> None:
        raise ModuleNotFoundError("No module named 'flatbuffers'", name="flatbuffers")

    monkeypatch.setattr(runtime, "importlib", SimpleNamespace(import_module=fail, metadata=importlib.metadata))
    with pytest.raises(DynamicIDError, match=r"flatbuffers.*pip install onnxruntime, then restart"):
        import_onnxruntime()


def test_diagnosis_for_directml(fake_machine: FakeMachine) -> None:
    fake_machine(["onnxruntime", "onnxruntime-directml"], ["CPUExecutionProvider"], cuda_version="12.8")
    assert (diagnose_onnxruntime() or "").endswith(f"{PIP} --force-reinstall --no-deps onnxruntime-directml")


def test_lost_cuda_provider_is_no_matter_without_a_card(fake_machine: FakeMachine) -> None:
    fake_machine(BOTH, ON_CPU, has_cuda=False)
    assert diagnose_onnxruntime() is None


def test_two_distributions_that_happen_to_work_are_left_alone(fake_machine: FakeMachine) -> None:
    fake_machine(BOTH, ON_CUDA, has_cuda=True)
    assert diagnose_onnxruntime() is None


def test_diagnosis_of_a_card_that_onnxruntime_cannot_use(fake_machine: FakeMachine) -> None:
    fake_machine(["onnxruntime"], ON_CPU, has_cuda=True, cuda_version="13.0")
    assert (diagnose_onnxruntime() or "").endswith(f"To use the card: {REPAIR}")


def test_cpu_runtime_on_a_cpu_machine_is_fine(fake_machine: FakeMachine) -> None:
    fake_machine(["onnxruntime"], ON_CPU)
    assert diagnose_onnxruntime() is None


@pytest.mark.parametrize(
    ("version", "cuda", "repair"),
    [("1.27.0", "12.8", REPAIR_CUDA_12), ("1.26.1", "13.0", REPAIR), ("1.26.1", "12.8", None), ("1.30", "13.0", None)],
)
def test_cuda_of_onnxruntime_and_torch_must_agree(
    version: str, cuda: str, repair: str | None, fake_machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_machine(BOTH, ON_CUDA, has_cuda=True, cuda_version=cuda)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    text = diagnose_cuda_version("CUDAExecutionProvider")
    assert text is None if repair is None else (text or "").endswith(repair)
    assert diagnose_cuda_version("DmlExecutionProvider") is None


@pytest.mark.skipif(sys.platform == "win32", reason="reads the environment as native code does on POSIX systems")
def test_telemetry_is_off_before_onnxruntime_is_imported(tmp_path):
    """The native library reads the process's environment while it is loaded; later is too late."""
    (tmp_path / "onnxruntime.py").write_text(
        "import ctypes\n"
        "getenv = ctypes.CDLL(None).getenv\n"
        "getenv.restype = ctypes.c_char_p\n"
        "seen = getenv(b'ORT_DISABLE_TELEMETRY')\n"
        "class InferenceSession: pass\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from dynamicid.faces.runtime import import_onnxruntime\n"
        "print(import_onnxruntime().seen)"
    )
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "b'1'"
