"""A ComfyUI over its HTTP API: upload a photo, queue a prompt, wait, fetch the picture."""

import io
import logging
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import requests
from PIL import Image

from ..errors import DynamicIDError
from ..files.skipped import BadSample
from .workflows import Graph

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
_ANSWER_SECONDS = 180
_LARGEST_ANSWER = 256 << 20
_MOST_SAID = 300
_NO_TRACES = 20
"""Polls after which a prompt that is neither queued nor finished counts as lost."""


class ComfyServer:
    """A server that paints one prompt at a time.

    Args:
        address: "http://127.0.0.1:8188".
        output_node: Id or title of the node whose picture counts; None = the last Save Image.
        most_seconds: A prompt that takes longer is stopped.

    Raises:
        DynamicIDError: Nobody answers there.
    """

    def __init__(self, address: str, output_node: str | None = None, most_seconds: float = 1800) -> None:
        self._address = address.rstrip("/")
        self._output_node = output_node
        self._most_seconds = most_seconds
        self._session = requests.Session()
        # A proxy of the environment would be asked for this machine, too.
        self._session.trust_env = False
        self._client = uuid.uuid4().hex
        self._ask("GET", "/system_stats")

    def __enter__(self) -> "ComfyServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def upload(self, name: str, image: np.ndarray) -> None:
        """Puts a picture (height, width, 3) uint8 RGB into the input folder as PNG, for Load Image.

        Raises:
            DynamicIDError: The server is gone or refuses it.
        """
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        answer = self._ask(
            "POST",
            "/upload/image",
            files={"image": (name, content.getvalue(), "image/png")},
            data={"overwrite": "true", "type": "input"},
        )
        if answer.status_code != requests.codes.ok:
            raise self._wrong(f"It refused a photo with status {answer.status_code}.")

    def paint(self, graph: Graph) -> bytes:
        """Runs a graph; the encoded picture.

        Raises:
            BadSample: The server refused it, a node failed, it took too long, or there is no picture.
            DynamicIDError: The server is gone.
        """
        answer = self._ask("POST", "/prompt", json={"prompt": graph, "client_id": self._client})
        said = self._json(answer)
        if answer.status_code != requests.codes.ok or "prompt_id" not in said:
            raise BadSample(f"refused: {_refusal(said, graph)}")
        prompt = str(said["prompt_id"])
        is_done = False
        try:
            entry = self._wait(prompt)
            is_done = True
        finally:
            if not is_done:
                self._cancel(prompt)
        _raise_failure(entry, graph)
        return self._fetch(_chosen_image(entry.get("outputs") or {}, graph, self._output_node))

    def _wait(self, prompt: str) -> dict[str, Any]:
        deadline, lost = time.monotonic() + self._most_seconds, 0
        while time.monotonic() < deadline:
            entry = self._json(self._ask("GET", f"/history/{prompt}")).get(prompt)
            if entry is not None:
                return entry
            lost = 0 if self._is_queued(prompt) else lost + 1
            if lost > _NO_TRACES:
                raise BadSample("the server lost the prompt")
            time.sleep(POLL_SECONDS)
        raise BadSample(f"took more than {self._most_seconds:g} seconds")

    def _is_queued(self, prompt: str) -> bool:
        queue = self._json(self._ask("GET", "/queue"))
        return any(prompt in entry for entry in [*queue.get("queue_running", []), *queue.get("queue_pending", [])])

    def _cancel(self, prompt: str) -> None:
        """Takes the prompt out of the queue and stops it, so that nothing of ours goes on."""
        try:
            self._session.post(f"{self._address}/queue", json={"delete": [prompt]}, timeout=5)
            self._session.post(f"{self._address}/interrupt", json={"prompt_id": prompt}, timeout=5)
        except requests.RequestException as error:
            logger.warning("The prompt could not be stopped on the server: %s", error)

    def _fetch(self, image: Mapping[str, str]) -> bytes:
        answer = self._ask("GET", "/view", params=dict(image))
        if answer.status_code != requests.codes.ok:
            raise BadSample("the server cannot hand the picture over")
        if len(answer.content) > _LARGEST_ANSWER:
            raise BadSample("the picture is too large")
        return answer.content

    def _ask(self, method: str, path: str, **arguments: Any) -> requests.Response:
        try:
            return self._session.request(method, self._address + path, timeout=_ANSWER_SECONDS, **arguments)
        except requests.RequestException as error:
            raise self._wrong(f"There is no answer ({type(error).__name__}).") from error

    def _json(self, answer: requests.Response) -> dict[str, Any]:
        try:
            said = answer.json()
        except ValueError as error:
            raise self._wrong("It does not answer as a ComfyUI does.") from error
        return said if isinstance(said, dict) else {}

    def _wrong(self, found: str) -> DynamicIDError:
        remedy = "Start ComfyUI, name its address, and run the command again: painted pictures are kept."
        return DynamicIDError(self._address, found, remedy)


def _chosen_image(outputs: Mapping[str, Any], graph: Graph, wanted: str | None) -> dict[str, str]:
    """Where the picture lies: filename, subfolder and type."""
    images = {node: output["images"] for node, output in outputs.items() if output.get("images")}
    if wanted is not None:
        nodes = [node for node in images if wanted in (node, _title(graph, node))]
        if not nodes:
            raise BadSample(f"no picture from a node '{wanted}'")
    else:
        nodes = [node for node in images if graph.get(node, {}).get("class_type") == "SaveImage"] or list(images)
        if not nodes:
            raise BadSample("the workflow saved no picture")
    order = list(graph)
    node = max(nodes, key=lambda one: order.index(one) if one in order else -1)
    image = images[node][-1]
    return {name: str(image.get(name, "")) for name in ("filename", "subfolder", "type")}


def _raise_failure(entry: Mapping[str, Any], graph: Graph) -> None:
    status = entry.get("status") or {}
    for kind, message in status.get("messages") or ():
        if kind == "execution_error":
            node = _title(graph, str(message.get("node_id", "")))
            raise BadSample(f"failed at {node}: {_short(str(message.get('exception_message', '')))}")
        if kind == "execution_interrupted":
            raise BadSample("stopped by somebody at the server")
    if status.get("status_str", "success") != "success":
        raise BadSample("failed at the server")


def _refusal(said: Mapping[str, Any], graph: Graph) -> str:
    """ComfyUI's reasons against a graph."""
    reasons: list[str] = []
    errors = said.get("node_errors")
    for node, refused in errors.items() if isinstance(errors, dict) else ():
        reasons += [
            f"{_title(graph, node)}: {error.get('message', '')} {error.get('details', '')}".strip()
            for error in refused.get("errors", [])
        ]
    error = said.get("error", "")
    return _short("; ".join(reasons) or str(error.get("message", error) if isinstance(error, dict) else error))


def _title(graph: Graph, node: str) -> str:
    found = graph.get(node, {})
    return str(found.get("_meta", {}).get("title") or found.get("class_type") or f"node {node}")


def _short(text: str) -> str:
    """One line of at most ``_MOST_SAID`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_SAID else f"{line[:_MOST_SAID]} ..."
