"""The installed onnxruntime: importing it, what keeps a GPU away, and the commands that install or repair it.

Nothing here imports onnxruntime before it is called, and torch is only looked at where something else has imported it.
"""

import importlib
import importlib.metadata
import sys
from os import environ
from types import ModuleType

from ..errors import DynamicIDError

SUFFIX = "ExecutionProvider"
TORCH_DEVICES = ("CUDA", "ROCm", "MIGraphX")
"""Providers whose cards torch sees, too."""
SHORT_NAMES = {
    "DmlExecutionProvider": "DirectML",
    "ROCMExecutionProvider": "ROCm",
    "TensorrtExecutionProvider": "TensorRT",
}
_GPU_PACKAGES = {
    "onnxruntime-gpu": "CUDAExecutionProvider",
    "onnxruntime-directml": "DmlExecutionProvider",
    "onnxruntime-rocm": "ROCMExecutionProvider",
}

# Up to the version before this one onnxruntime-gpu is built for CUDA 12, from it on for CUDA 13.
_FIRST_CUDA_13_VERSION = "1.27"


def pip_command(*arguments: str) -> str:
    """The pip call for the very Python that runs this (on portable ComfyUI the one in python_embeded)."""
    return f'"{sys.executable}" -m pip {" ".join(arguments)}'


def repair_command(distribution: str = "onnxruntime-gpu") -> str:
    """Lays one onnxruntime distribution's files over whatever is left of the others'.

    Works with the CPU build on top and from half-removed states. Uninstalling one of the two instead would take files
    away from the other; and with `onnxruntime` still listed, insightface's requirement stays met, so that the next pack
    does not pull the CPU build in again.
    """
    return pip_command("install", "--force-reinstall", "--no-deps", _requirement(distribution))


def import_onnxruntime() -> ModuleType:
    """onnxruntime; importing this package has switched its telemetry off.

    Raises:
        DynamicIDError: It is missing or damaged; names the command that installs or repairs it.
    """
    try:
        module = importlib.import_module("onnxruntime")
    # AttributeError: how a folder with files of two versions fails.
    except (ImportError, AttributeError) as error:
        raise DynamicIDError(
            "provider",
            f"The Python package onnxruntime cannot be imported ({error}).",
            f"{_how_to_install(error)}, then restart ComfyUI.",
        ) from error
    # Uninstalling one of two distributions can leave an empty folder, which imports as a namespace.
    if not hasattr(module, "InferenceSession"):
        raise DynamicIDError(
            "provider",
            "The installed onnxruntime is damaged: it has no InferenceSession.",
            f"Repair it with: {repair_command(_wanted_distribution())}, then restart ComfyUI.",
        )
    return module


def _how_to_install(error: Exception) -> str:
    """The command against a failed import: of onnxruntime itself, of its damaged files, or of what it needs."""
    distribution = _wanted_distribution()
    needs_other = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] != "onnxruntime"
    if needs_other or not _installed_distributions():
        return f"Install it with: {pip_command('install', _requirement(distribution))}"
    return f"Repair it with: {repair_command(distribution)}"


def import_insightface() -> ModuleType:
    """insightface, or a DynamicIDError that names the command which installs it."""
    import_onnxruntime()
    # insightface 0.7.3 imports albumentations, which asks a server for its newest version unless told not to.
    environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        return importlib.import_module("insightface")
    # ValueError and AttributeError: how a version 0.7.3 built against another numpy fails.
    except (ImportError, ValueError, AttributeError) as error:
        raise DynamicIDError(
            "pack",
            f"The Python package insightface cannot be imported ({error}).",
            f"Install it with: {_insightface_command()}, then restart ComfyUI.",
        ) from error


def _insightface_command() -> str:
    """insightface requires the distribution `onnxruntime`, which pip lays over a GPU one: put that back on top."""
    install = pip_command("install", "insightface")
    gpu = [name for name in _installed_distributions() if name in _GPU_PACKAGES]
    return f"{install} and then: {repair_command(gpu[0])}" if gpu else install


def short_name(provider: str) -> str:
    """`CUDAExecutionProvider` -> `CUDA`, `DmlExecutionProvider` -> `DirectML`."""
    return SHORT_NAMES.get(provider, provider.removesuffix(SUFFIX))


def diagnose_onnxruntime() -> str | None:
    """What keeps a GPU provider away, and the command that repairs it; None when nothing is wrong.

    The well-known fault: insightface requires `onnxruntime`, pip installs it over `onnxruntime-gpu` (both own the same
    folder), and the CUDA provider is gone although `onnxruntime-gpu` is still listed.
    """
    installed = _installed_distributions()
    offered = _offered_or_none()
    if offered is None:
        if not installed:
            return None
        return f"The installed onnxruntime is damaged. Repair it with: {repair_command(_wanted_distribution())}"
    gpu_packages = [name for name in installed if name in _GPU_PACKAGES]
    missing = [name for name in gpu_packages if _GPU_PACKAGES[name] not in offered]
    if torch_has_gpu() is False:
        missing = [name for name in missing if short_name(_GPU_PACKAGES[name]) not in TORCH_DEVICES]
    if len(installed) > 1 and missing:
        return (
            f"{' and '.join(installed)} are installed side by side and overwrite each other's files, so "
            f"{short_name(_GPU_PACKAGES[missing[0]])} is not available. Repair it with: {repair_command(missing[0])}"
        )
    if not gpu_packages and _torch_has_cuda() and "CUDAExecutionProvider" not in offered:
        return (
            "torch sees a CUDA card, but the installed onnxruntime has no CUDA provider, so faces are found on the "
            f"CPU. To use the card: {repair_command()}"
        )
    return None


def diagnose_cuda_version(provider: str) -> str | None:
    """Why the CUDA provider of an onnxruntime-gpu for another CUDA than torch's does not start, and the command."""
    cuda = _torch_cuda_version()
    if provider != "CUDAExecutionProvider" or cuda is None or not _is_installed("onnxruntime-gpu"):
        return None
    version = importlib.metadata.version("onnxruntime-gpu")
    built_for = 12 if _numbers(version) < _numbers(_FIRST_CUDA_13_VERSION) else 13
    if built_for == _numbers(cuda)[0]:
        return None
    return (
        f"onnxruntime-gpu {version} is built for CUDA {built_for}, torch brings CUDA {cuda}. Repair it with: "
        f"{repair_command()}"
    )


def _numbers(version: str) -> tuple[int, ...]:
    """`1.27.0.dev3` -> (1, 27, 0)"""
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


def _requirement(distribution: str) -> str:
    """The distribution as pip is asked for it: onnxruntime-gpu of the CUDA version that torch brings."""
    cuda = _torch_cuda_version()
    if distribution == "onnxruntime-gpu" and cuda is not None and _numbers(cuda)[0] == 12:
        return f'"{distribution}<{_FIRST_CUDA_13_VERSION}"'
    return distribution


def _wanted_distribution() -> str:
    """The distribution whose files should lie on top on this machine."""
    gpu = [name for name in _installed_distributions() if name in _GPU_PACKAGES]
    return gpu[0] if gpu else "onnxruntime-gpu" if _torch_has_cuda() else "onnxruntime"


def _installed_distributions() -> list[str]:
    return [name for name in ("onnxruntime", *_GPU_PACKAGES) if _is_installed(name)]


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _offered_or_none() -> list[str] | None:
    """Full names of the providers, or None where onnxruntime is missing or damaged."""
    try:
        return list(import_onnxruntime().get_available_providers())
    except DynamicIDError:
        return None


def torch_has_gpu() -> bool | None:
    """Whether torch can use an NVIDIA or AMD card; None while nothing has imported torch."""
    torch = sys.modules.get("torch")
    return None if torch is None else bool(torch.cuda.is_available())


def _torch_has_cuda() -> bool:
    # torch built for ROCm answers to the name cuda as well.
    return bool(torch_has_gpu()) and getattr(sys.modules["torch"].version, "hip", None) is None


def _torch_cuda_version() -> str | None:
    """The CUDA version that torch is built with ("12.8"); None without torch or CUDA."""
    torch = sys.modules.get("torch")
    return None if torch is None else getattr(torch.version, "cuda", None)
