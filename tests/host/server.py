"""A ComfyUI server for tests: started on a base directory, spoken to over its HTTP API."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

START_SECONDS = 120
PROMPT_SECONDS = 600


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
    """``with Server(host, base) as server: server.run(graph)``."""

    def __init__(self, host: Path, base: Path, *options: str) -> None:
        self.base = base
        self.log_path = base / f"server-{uuid.uuid4().hex[:8]}.log"
        self.port = free_port()
        for name in ("input", "output", "temp", "user", "custom_nodes"):
            (base / name).mkdir(exist_ok=True)
        self.command = [
            sys.executable, "main.py", "--cpu", "--port", str(self.port), "--base-directory", str(base),
            "--disable-api-nodes", "--database-url", "sqlite:///:memory:", *options,
        ]  # fmt: skip
        self.host = host

    def __enter__(self) -> Server:
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(self.command, cwd=self.host, stdout=log, stderr=subprocess.STDOUT)
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

    def log(self) -> str:
        """Everything the server has printed."""
        return self.log_path.read_text(errors="replace")

    def get(self, path: str) -> Any:
        """GET -> JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, content: Any) -> tuple[int, Any]:
        """POST JSON -> status, JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}",
            data=json.dumps(content).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def run(self, graph: dict[str, Any], seconds: float = PROMPT_SECONDS) -> dict[str, Any]:
        """Queues an API graph and waits; returns the history entry.

        Raises:
            PromptFailed: The server refused the graph, or a node raised.
        """
        status, answer = self.post("prompt", {"prompt": graph})
        if status != 200:
            raise PromptFailed("validation", json.dumps(answer))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            entry = self.get(f"history/{answer['prompt_id']}").get(answer["prompt_id"])
            if entry is not None:
                return self._checked(entry)
            if self.process.poll() is not None:
                raise RuntimeError(f"ComfyUI died:\n{self.log()[-3000:]}")
            time.sleep(0.05)
        raise TimeoutError(f"no answer after {seconds} s:\n{self.log()[-3000:]}")

    @staticmethod
    def _checked(entry: dict[str, Any]) -> dict[str, Any]:
        for kind, message in entry["status"]["messages"]:
            if kind == "execution_error":
                raise PromptFailed(message["node_type"], message["exception_message"].strip())
        assert entry["status"]["status_str"] == "success"
        return entry

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
