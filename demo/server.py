"""A headless ComfyUI for the demo: started on a temporary base directory, driven over its HTTP API."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dynamicid.evaluation.comfy_client import ComfyClient, Graph, PromptRefused, title_of
from scripts._bootstrap import REPOSITORY, print_line

START_SECONDS = 300
HISTORY_SECONDS = 20
STOP_SECONDS = 20
LOG_TAIL_LINES = 30
PACK_PARTS = ("__init__.py", "pyproject.toml", "dynamicid", "nodes", "web", "locales", "workflows")
EXTENSION = REPOSITORY / "tiny_models" / "comfyui"
EXTENSION_PARTS = ("__init__.py", "nodes.py", "networks.py")


class DemoError(RuntimeError):
    """The demo cannot go on; the text says what was found and, where it is known, what to do."""


class Comfy:
    """`with Comfy(host, model_folders) as comfy: comfy.paint("one_person", graph)`. SIGTERM counts as Ctrl-C meanwhile.

    Args:
        host: ComfyUI's folder.
        model_folders: Folders by ComfyUI's name for what they hold ("checkpoints").
        inputs: Files for the input folder, by the name they get there.
    """

    def __init__(self, host: Path, model_folders: Mapping[str, Sequence[Path]], inputs: Mapping[str, Path]) -> None:
        self.host = host
        self.model_folders = model_folders
        self.inputs = inputs

    def __enter__(self) -> Comfy:
        self._folder = tempfile.TemporaryDirectory(prefix="dynamicid-demo-", ignore_cleanup_errors=True)
        self._base = Path(self._folder.name)
        self._log_path = self._base / "comfyui.log"
        self._port = _free_port()
        self.client = ComfyClient(f"http://127.0.0.1:{self._port}")
        self._process: subprocess.Popen[bytes] | None = None
        self._former = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()
        signal.signal(signal.SIGTERM, self._former)

    @property
    def address(self) -> str:
        """Of its HTTP API."""
        return self.client.address

    def _start(self) -> None:
        for name in ("input", "output", "temp", "user", "custom_nodes"):
            (self._base / name).mkdir()
        for name, source in self.inputs.items():
            shutil.copyfile(source, self._base / "input" / name)
        _place(REPOSITORY, self._base / "custom_nodes" / "DynamicID", PACK_PARTS)
        _place(EXTENSION, self._base / "custom_nodes" / "TinyModels", EXTENSION_PARTS)
        # JSON is YAML; ComfyUI reads several folders as lines of one string.
        folders: dict[str, Any] = {kind: "\n".join(map(str, paths)) for kind, paths in self.model_folders.items()}
        paths_file = self._base / "models.yaml"
        content = json.dumps({"demo": {"is_default": True, **folders}}, ensure_ascii=False)
        paths_file.write_text(content, encoding="utf-8")
        command = [
            sys.executable, "main.py", "--port", str(self._port), "--base-directory", str(self._base),
            "--extra-model-paths-config", str(paths_file), "--database-url", "sqlite:///:memory:",
            "--disable-api-nodes", *([] if _has_accelerator() else ["--cpu"]),
        ]  # fmt: skip
        print_line(f"Starting ComfyUI ({self.host}{'' if _has_accelerator() else ', on the CPU'})")
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=self.host, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.client.get("system_stats")
                return
            except OSError:
                time.sleep(0.2)
        raise DemoError(f"ComfyUI did not start. Its last lines:\n{self._log_tail()}")

    def paint(self, title: str, graph: Graph) -> dict[str, bytes]:
        """Runs an API graph, with a line for each node and each sampling step.

        Returns:
            PNG files by the `filename_prefix` of the SaveImage node that wrote them.

        Raises:
            DemoError: ComfyUI refused the graph, a node failed, or the server ended.
        """
        prompt_id = asyncio.run(self._paint(title, graph))
        pictures = {}
        for node, output in self._outputs(prompt_id).items():
            prefix = graph[node]["inputs"].get("filename_prefix")
            for image in output.get("images", []) if prefix else []:
                pictures[prefix] = (self._base / "output" / image["subfolder"] / image["filename"]).read_bytes()
        return pictures

    def _outputs(self, prompt_id: str) -> dict[str, Any]:
        """What the output nodes of a finished prompt reported, by node."""
        deadline = time.monotonic() + HISTORY_SECONDS
        while time.monotonic() < deadline:
            # ComfyUI tells success a moment before it writes the history.
            entry = self.client.history(prompt_id)
            if entry is not None:
                return entry["outputs"]
            time.sleep(0.05)
        raise DemoError("ComfyUI finished a picture but does not say where it is.")

    async def _paint(self, title: str, graph: Graph) -> str:
        """Queues the graph and follows it to its end; returns the prompt's id."""
        import aiohttp

        async with (
            aiohttp.ClientSession(self.address) as session,
            session.ws_connect(f"/ws?clientId={self.client.client_id}", max_msg_size=0) as socket_,
        ):
            try:
                prompt_id = self.client.queue(graph)
            except PromptRefused as error:
                raise DemoError("\n".join([f"ComfyUI refused {title}:", *error.reasons])) from error
            async for message in socket_:
                if message.type != aiohttp.WSMsgType.TEXT:
                    continue
                event = json.loads(message.data)
                if event["data"].get("prompt_id") != prompt_id:
                    continue
                if self._follow(title, graph, event["type"], event["data"]):
                    return prompt_id
        raise DemoError(f"ComfyUI ended while it painted {title}. Its last lines:\n{self._log_tail()}")

    @staticmethod
    def _follow(title: str, graph: Graph, kind: str, data: Mapping[str, Any]) -> bool:
        """Prints the progress that an event reports; returns whether it was the last event of the prompt."""
        if kind == "executing" and data.get("node") in graph:
            print_line(f"  {title}: {title_of(graph, data['node'])}")
        elif kind == "progress" and graph.get(data["node"], {}).get("class_type") == "KSampler":
            print_line(f"  {title}: step {data['value']} of {data['max']}")
        elif kind == "execution_error":
            node = title_of(graph, data["node_id"])
            raise DemoError(f"ComfyUI stopped {title} at {node}:\n{data['exception_message'].strip()}")
        elif kind == "execution_interrupted":
            raise DemoError(f"ComfyUI was told to stop {title}.")
        return kind == "execution_success"

    def _log_tail(self) -> str:
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


def _place(source: Path, target: Path, parts: Sequence[str]) -> None:
    """A custom node: a link, or a copy of its parts where links are not allowed (Windows without developer mode)."""
    try:
        os.symlink(source, target, target_is_directory=True)
    except OSError:
        target.mkdir()
        for name in parts:
            part = source / name
            if part.is_dir():
                shutil.copytree(part, target / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif part.is_file():
                shutil.copyfile(part, target / name)


def _has_accelerator() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
