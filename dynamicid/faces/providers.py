"""onnxruntime's execution providers: which there are, opening InsightFace's networks on one, and what keeps a GPU away.

Nothing here imports onnxruntime before it is called, and torch is only looked at where something else has imported it.
"""

import importlib
import importlib.metadata
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import DynamicIDError

logger = logging.getLogger(__name__)

AUTO = "auto"
CPU = "CPU"
_SUFFIX = "ExecutionProvider"
_CPU_PROVIDER = CPU + _SUFFIX
_TRY_SHAPE = (1, 3, 512, 512)
_SHORT_NAMES = {
    "DmlExecutionProvider": "DirectML",
    "ROCMExecutionProvider": "ROCm",
    "TensorrtExecutionProvider": "TensorRT",
}
# A remote service, not a device of this machine: it needs an endpoint and a key that no node asks for.
_NOT_OFFERED = {"AzureExecutionProvider"}
# Left out on purpose: TensorRT compiles for minutes at first use, CoreML and OpenVINO are often slower than the CPU
# on these small networks with changing input sizes. All of them can still be chosen by name.
_AUTO_ORDER = ("CUDA", "ROCm", "MIGraphX", "DirectML")
_TORCH_DEVICES = ("CUDA", "ROCm", "MIGraphX")
_GPU_PACKAGES = {
    "onnxruntime-gpu": "CUDAExecutionProvider",
    "onnxruntime-directml": "DmlExecutionProvider",
    "onnxruntime-rocm": "ROCMExecutionProvider",
}

# What insightface 2.1 requires, but for numpy (ComfyUI's) and onnxruntime.
_INSIGHTFACE_NEEDS = ("onnx", "opencv-python", "tqdm", "requests", "scipy", "scikit-image")


def pip_command(*arguments: str) -> str:
    """The pip call for the very Python that runs this (on portable ComfyUI the one in python_embeded)."""
    return f'"{sys.executable}" -m pip {" ".join(arguments)}'


def import_onnxruntime() -> ModuleType:
    """onnxruntime, or a DynamicIDError that names the command which installs it."""
    try:
        module = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise DynamicIDError(
            "provider",
            f"The Python package onnxruntime cannot be imported ({error}).",
            f"Install it with: {pip_command('install', 'onnxruntime')} (with an NVIDIA card: onnxruntime-gpu instead, "
            "never both), then restart ComfyUI.",
        ) from error
    # Two distributions that overwrote each other can leave an empty folder, which imports as a namespace.
    if not hasattr(module, "InferenceSession"):
        raise DynamicIDError(
            "provider",
            "The installed onnxruntime is damaged: it has no InferenceSession.",
            diagnose_onnxruntime() or f"Mend it with: {pip_command('install', '--force-reinstall', 'onnxruntime')}",
        )
    return module


def import_insightface() -> ModuleType:
    """insightface, or a DynamicIDError that names the command which installs it."""
    import_onnxruntime()
    # insightface 0.7.3 imports albumentations, which asks a server for its newest version unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
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
    """insightface requires the distribution `onnxruntime`, which must not be laid over a GPU one."""
    if any(_is_installed(name) for name in _GPU_PACKAGES):
        first, second = pip_command("install", *_INSIGHTFACE_NEEDS), pip_command("install", "--no-deps", "insightface")
        return f"{first} and then: {second}"
    return pip_command("install", "insightface")


def short_name(provider: str) -> str:
    """`CUDAExecutionProvider` -> `CUDA`, `DmlExecutionProvider` -> `DirectML`."""
    return _SHORT_NAMES.get(provider, provider.removesuffix(_SUFFIX))


def available_providers() -> list[str]:
    """Choices for a combo: "auto", then the short names of what onnxruntime offers, or CPU where it is missing."""
    try:
        offered = import_onnxruntime().get_available_providers()
    except DynamicIDError:
        return [AUTO, CPU]
    names = [short_name(provider) for provider in offered if provider not in _NOT_OFFERED]
    return [AUTO, *names] if CPU in names else [AUTO, *names, CPU]


def resolve_provider(provider: str) -> str:
    """The full onnxruntime name behind a choice.

    Args:
        provider: "auto", a short name in any case ("cuda"), or a full name. A name that this onnxruntime does not offer
            is handed back in full, so that the caller can say what was asked for and what came instead.
    """
    offered = import_onnxruntime().get_available_providers()
    if provider == AUTO:
        by_short_name = {short_name(name): name for name in offered}
        # onnxruntime-gpu lists CUDA on machines without a card, too; ComfyUI's torch knows better.
        unusable = _TORCH_DEVICES if _torch_has_gpu() is False else ()
        order = [name for name in _AUTO_ORDER if name in by_short_name and name not in unusable]
        return by_short_name[order[0]] if order else _CPU_PROVIDER
    wanted = provider.lower()
    for name in (*offered, *_SHORT_NAMES):
        if wanted in (name.lower(), short_name(name).lower()):
            return name
    return provider if provider.endswith(_SUFFIX) else provider + _SUFFIX


def open_networks(files: Sequence[Path], tasks: Sequence[str], provider: str) -> tuple[dict[str, Any], str]:
    """Opens ONNX files with InsightFace's own routing until every task has its network.

    Args:
        files: ONNX files, in the order in which they are tried; the first that serves a task wins.
        tasks: InsightFace's task names that are wanted.
        provider: As in `resolve_provider`.

    Returns:
        Networks by task (tasks that no file serves are left out), and the full name of the provider that runs them.
        That is the CPU, with a warning in the log, where the one asked for does not start.

    Raises:
        DynamicIDError: a file that is no sound ONNX network.
    """
    wanted = resolve_provider(provider)
    if wanted != _CPU_PROVIDER:
        reason = "this onnxruntime does not offer it"
        if wanted in import_onnxruntime().get_available_providers():
            try:
                networks = _open_all(files, tasks, wanted)
                reason = _why_not_running(networks, wanted)
            except _failures() as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            else:
                if reason is None:
                    return networks, wanted
        logger.warning(
            "onnxruntime's provider %s could not start (%s); faces are found on the CPU instead. %s",
            short_name(wanted),
            reason,
            diagnose_onnxruntime() or "",
        )
    return _open_all(files, tasks, _CPU_PROVIDER, must_open=True), _CPU_PROVIDER


def _open_all(files: Sequence[Path], tasks: Sequence[str], provider: str, must_open: bool = False) -> dict[str, Any]:
    """Networks by task. With `must_open`, a file that fails is a DynamicIDError; without, its own exception goes up."""
    get_model = importlib.import_module("insightface.model_zoo").get_model
    providers = [provider] if provider == _CPU_PROVIDER else [provider, _CPU_PROVIDER]
    # insightface 2 opens a session per detector size unless told not to; CoreML alone needs them.
    settings = {} if provider == "CoreMLExecutionProvider" else {"static_shape_sessions": False}
    networks: dict[str, Any] = {}
    for file in files:
        if len(networks) == len(tasks):
            break
        try:
            network = get_model(str(file), providers=providers, **settings)
        except _failures() as error:
            if not must_open:
                raise
            raise DynamicIDError(
                "pack",
                f"{file} is not a sound ONNX file ({str(error).strip()[:200] or type(error).__name__}).",
                "Download it again and compare its size: this is what a broken-off download looks like.",
            ) from error
        task: str = getattr(network, "taskname", "")
        if task in tasks and task not in networks:
            networks[task] = network
    return networks


def _why_not_running(networks: dict[str, Any], provider: str) -> str | None:
    """Why the networks do not run on `provider`, found by asking the sessions and by one run on zeros; None if they do.

    onnxruntime falls back to the CPU by itself without an exception, and some drivers fail only at the first run.
    """
    for task, network in networks.items():
        active = network.session.get_providers()
        if not active or active[0] != provider:
            return f"the network for {task} came up on {', '.join(map(short_name, active)) or 'nothing'}"
        first = network.session.get_inputs()[0]
        dimensions = zip(first.shape, _TRY_SHAPE, strict=True)
        shape = [size if isinstance(size, int) else default for size, default in dimensions]
        network.session.run(None, {first.name: np.zeros(shape, dtype=np.float32)})
    return None


def _failures() -> tuple[type[Exception], ...]:
    """What opening or running an ONNX file raises. onnxruntime's own exceptions share no base class."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    decode_error = importlib.import_module("google.protobuf.message").DecodeError
    # Router and network classes index, compare and assert on shapes they expect.
    return (*own, decode_error, RuntimeError, OSError, ValueError, TypeError, IndexError, AssertionError)


def diagnose_onnxruntime() -> str | None:
    """What keeps a GPU provider away, and the commands that mend it; None when nothing is wrong.

    The well-known fault: insightface requires `onnxruntime`, pip installs it over `onnxruntime-gpu` (both own the same
    folder), and the CUDA provider is gone although `onnxruntime-gpu` is still listed.
    """
    installed = {name for name in ("onnxruntime", *_GPU_PACKAGES) if _is_installed(name)}
    gpu_packages = [name for name in _GPU_PACKAGES if name in installed]
    offered = _offered_or_none()
    missing = [name for name in gpu_packages if offered is None or _GPU_PACKAGES[name] not in offered]
    if _torch_has_gpu() is False:
        missing = [name for name in missing if short_name(_GPU_PACKAGES[name]) not in _TORCH_DEVICES]
    if len(installed) > 1 and missing:
        return (
            f"{' and '.join(sorted(installed))} are installed side by side and overwrite each other's files, so "
            f"{short_name(_GPU_PACKAGES[missing[0]])} is not available. Mend it with: "
            f"{pip_command('uninstall', '-y', *sorted(installed))} and then: {pip_command('install', missing[0])}"
        )
    if offered is not None and not gpu_packages and _torch_has_cuda() and "CUDAExecutionProvider" not in offered:
        return (
            "torch sees a CUDA card, but the installed onnxruntime has no CUDA provider, so faces are found on the "
            f"CPU. To use the card: {pip_command('uninstall', '-y', 'onnxruntime')} and then: "
            f"{pip_command('install', 'onnxruntime-gpu')}"
        )
    return None


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _offered_or_none() -> list[str] | None:
    try:
        module = importlib.import_module("onnxruntime")
    except ImportError:
        return None
    return list(module.get_available_providers()) if hasattr(module, "get_available_providers") else None


def _torch_has_gpu() -> bool | None:
    """Whether torch can use an NVIDIA or AMD card; None while nothing has imported torch."""
    torch = sys.modules.get("torch")
    return None if torch is None else bool(torch.cuda.is_available())


def _torch_has_cuda() -> bool:
    # torch built for ROCm answers to the name cuda as well.
    return bool(_torch_has_gpu()) and getattr(sys.modules["torch"].version, "hip", None) is None
