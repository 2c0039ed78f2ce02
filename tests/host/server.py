"""A ComfyUI server for tests: started on a base directory, spoken to over its HTTP API."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import psutil

from dynamicid.evaluation.comfy_client import ComfyClient, NodeFailed, PromptError, PromptRefused
from tests.watched import files_below, foreign_connections, watched

START_SECONDS = 600
PROMPT_SECONDS = 600
RETURN_FREED_MEMORY = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
"""The C library gives freed tensors back at once: the memory that stays is what somebody keeps."""
SETTLING_SECONDS, SAME_MEGABYTES = 60, 1.0
NOTHING = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
"""A prompt that takes no memory."""


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PromptFailed(AssertionError):
    """A prompt that ended in an error; ``message`` is the node's own text."""

    def __init__(self, node: str, message: str) -> None:
        super().__init__(f"{node}: {message}")
        self.node = node
        self.message = message


class Server:
    """``with Server(host, base) as server: server.run(graph)``.

    Args:
        host: Folder of ComfyUI.
        base: Base directory.
        options: Of ComfyUI's command line.
        watch: Whether its sockets are watched, and its home folder is one of its own; see ``phoned_home``.
    """

    def __init__(self, host: Path, base: Path, *options: str, watch: bool = False) -> None:
        self.base = base
        self.log_path = base / f"server-{uuid.uuid4().hex[:8]}.log"
        self.port = free_port()
        self.client = ComfyClient(f"http://127.0.0.1:{self.port}")
        for name in ("input", "output", "temp", "user", "custom_nodes"):
            (base / name).mkdir(exist_ok=True)
        self.home, self.connections = base / "home", base / "connections.log"
        self.home.mkdir(exist_ok=True)
        self.environment = {**os.environ, **RETURN_FREED_MEMORY, **({"HOME": str(self.home)} if watch else {})}
        prefix = watched(self.connections) if watch else []
        self.command = [
            *prefix, sys.executable, "main.py", "--cpu", "--port", str(self.port), "--base-directory", str(base),
            "--disable-api-nodes", "--database-url", "sqlite:///:memory:", *options,
        ]  # fmt: skip
        self.host = host

    def __enter__(self) -> Server:
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.host, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.get("system_stats")
                return self
            except OSError:
                time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(f"ComfyUI did not start:\n{self.log()[-3000:]}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def phoned_home(self) -> list[str]:
        """Connections and look-ups beyond this machine, and files left in the home folder, of a watched server."""
        return foreign_connections(self.connections) + files_below(self.home)

    def log(self) -> str:
        """Everything the server has printed."""
        return self.log_path.read_text(errors="replace")

    def get(self, path: str) -> Any:
        """GET -> JSON."""
        return self.client.get(path)

    def post(self, path: str, content: Any) -> tuple[int, Any]:
        """POST JSON -> status, JSON."""
        return self.client.post(path, content)

    def run(self, graph: dict[str, Any], seconds: float = PROMPT_SECONDS) -> dict[str, Any]:
        """Queues an API graph and waits; returns the history entry.

        Raises:
            PromptFailed: The server refused the graph, or a node raised.
        """
        try:
            return self.client.run(graph, seconds, self._check_alive)
        except PromptRefused as error:
            raise PromptFailed("validation", "; ".join(error.reasons)) from error
        except NodeFailed as error:
            raise PromptFailed(error.node_type, error.message) from error
        except PromptError as error:
            raise RuntimeError(f"{error}:\n{self.log()[-3000:]}") from error

    def _check_alive(self) -> None:
        if self.process.poll() is not None:
            raise RuntimeError(f"ComfyUI died:\n{self.log()[-3000:]}")

    def kept_megabytes(self) -> float:
        """Memory without mapped files, once the host has let go of history and caches: what is truly kept."""
        self.post("history", {"clear": True})
        self.post("free", {"unload_models": True, "free_memory": True})
        # The host frees between two prompts: once another one has begun, it is done, however busy the machine is.
        for _ in range(2):
            self.run(NOTHING)
        process, readings = psutil.Process(self.process.pid), []
        deadline = time.monotonic() + SETTLING_SECONDS
        while time.monotonic() < deadline:
            memory = process.memory_info()
            readings.append((memory.rss - getattr(memory, "shared", 0)) / 2**20)
            if len(readings) > 1 and abs(readings[-1] - readings[-2]) <= SAME_MEGABYTES:
                break
            time.sleep(1)
        return readings[-1]

    def executed(self, entry: dict[str, Any]) -> set[str]:
        """Ids of the nodes that really ran in a prompt: all but the cached ones."""
        cached: set[str] = set()
        for kind, message in entry["status"]["messages"]:
            if kind == "execution_cached":
                cached.update(message["nodes"])
        return set(entry["prompt"][2]) - cached

    def images(self, entry: dict[str, Any]) -> list[Path]:
        """Files of all saved and previewed images of a prompt."""
        files = [image for output in entry["outputs"].values() for image in output.get("images", [])]
        return [self.base / image["type"] / image["subfolder"] / image["filename"] for image in files]
