"""onnxruntime's execution providers: which there are, and opening InsightFace's networks on one.

Nothing here imports onnxruntime before it is called.
"""

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DynamicIDError
from .runtime import (
    SHORT_NAMES,
    SUFFIX,
    TORCH_DEVICES,
    diagnose_cuda_version,
    diagnose_onnxruntime,
    import_onnxruntime,
    short_name,
    torch_has_gpu,
)

logger = logging.getLogger(__name__)

AUTO = "auto"
CPU = "CPU"
CPU_PROVIDER = CPU + SUFFIX
_TRY_SHAPE = (1, 3, 512, 512)
# A remote service, not a device of this machine: it needs an endpoint and a key that no node asks for.
_NOT_OFFERED = {"AzureExecutionProvider"}
# Left out on purpose: TensorRT compiles for minutes at first use, CoreML and OpenVINO are often slower than the CPU
# on these small networks with changing input sizes. All of them can still be chosen by name.
_AUTO_ORDER = ("CUDA", "ROCm", "MIGraphX", "DirectML")


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
        unusable = TORCH_DEVICES if torch_has_gpu() is False else ()
        order = [name for name in _AUTO_ORDER if name in by_short_name and name not in unusable]
        return by_short_name[order[0]] if order else CPU_PROVIDER
    wanted = provider.lower()
    for name in (*offered, *SHORT_NAMES):
        if wanted in (name.lower(), short_name(name).lower()):
            return name
    return provider if provider.endswith(SUFFIX) else provider + SUFFIX


def open_networks(
    files: Sequence[Path], tasks: Sequence[str], provider: str, threads: int | None = None, device: int = 0
) -> tuple[dict[str, Any], str]:
    """Opens ONNX files with InsightFace's own routing until every task has its network.

    Args:
        files: ONNX files, in the order in which they are tried; the first that serves a task wins.
        tasks: InsightFace's task names that are wanted.
        provider: As in `resolve_provider`.
        threads: Processors that a network may use; None = all. insightface before 1.0 does not hand it on.
        device: Number of the GPU, of those that the provider has.

    Returns:
        Networks by task (tasks that no file serves are left out), and the full name of the provider that runs them.
        That is the CPU, with a warning in the log, where the one asked for does not start.

    Raises:
        DynamicIDError: a file that is no sound ONNX network.
    """
    wanted = resolve_provider(provider)
    if wanted != CPU_PROVIDER:
        reason = "this onnxruntime does not offer it"
        if wanted in import_onnxruntime().get_available_providers():
            try:
                networks = _open_all(files, tasks, wanted, threads, device)
                reason = _why_not_running(networks, wanted)
            except onnx_failures() as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            else:
                if reason is None:
                    return networks, wanted
        logger.warning(
            "onnxruntime's provider %s could not start (%s); faces are found on the CPU instead. %s",
            short_name(wanted),
            reason,
            diagnose_onnxruntime() or diagnose_cuda_version(wanted) or "",
        )
    return _open_all(files, tasks, CPU_PROVIDER, threads, must_open=True), CPU_PROVIDER


def session_options(threads: int | None) -> Any:
    """onnxruntime's options for so many threads; None = one a processor."""
    options = import_onnxruntime().SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads or 0
    return options


def _open_all(
    files: Sequence[Path],
    tasks: Sequence[str],
    provider: str,
    threads: int | None,
    device: int = 0,
    must_open: bool = False,
) -> dict[str, Any]:
    """Networks by task. With `must_open`, a file that fails is a DynamicIDError; without, its own exception goes up."""
    get_model = importlib.import_module("insightface.model_zoo").get_model
    providers = [provider] if provider == CPU_PROVIDER else [provider, CPU_PROVIDER]
    # insightface 2 opens a session per detector size unless told not to; CoreML alone needs them.
    settings: dict[str, Any] = {} if provider == "CoreMLExecutionProvider" else {"static_shape_sessions": False}
    if device:
        settings["provider_options"] = [{"device_id": str(device)}, {}]
    if threads is not None:
        settings["sess_options"] = session_options(threads)
    networks: dict[str, Any] = {}
    for file in files:
        if len(networks) == len(tasks):
            break
        try:
            network = get_model(str(file), providers=providers, **settings)
        except onnx_failures() as error:
            if not must_open:
                raise
            raise DynamicIDError(
                "pack",
                f"{file} is not a sound ONNX file ({str(error).strip()[:200] or type(error).__name__}).",
                "Download it again and compare its size: an incomplete download fails like this.",
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


def onnx_failures() -> tuple[type[Exception], ...]:
    """What opening or running an ONNX file raises. onnxruntime's own exceptions share no base class."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    decode_error = importlib.import_module("google.protobuf.message").DecodeError
    # Router and network classes index, compare and assert on shapes they expect.
    return (*own, decode_error, RuntimeError, OSError, ValueError, TypeError, IndexError, AssertionError)
