"""ComfyUI's HTTP API: queue a graph, wait for it, upload and fetch pictures. Needs only the standard library."""

import http.client
import json
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger(__name__)

Graph = dict[str, dict[str, Any]]
"""A graph in API format: node id -> ``class_type``, ``inputs`` and perhaps ``_meta``."""
POLL_SECONDS = 0.1
_ANSWER_SECONDS = 180
_CANCEL_SECONDS = 5
_MOST_POLLS_WITHOUT_PROMPT = 40
"""A prompt that is neither queued nor finished for that many polls counts as lost."""


class ServerError(ConnectionError):
    """There is no ComfyUI at the address, or it does not answer as one; the text says which."""


class PromptError(Exception):
    """A prompt that did not run to its end; the text says why in one line."""


class PromptRefused(PromptError):
    """The server does not accept the graph; ``reasons`` has a line for each node error."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(f"refused: {_one_line('; '.join(reasons))}")
        self.reasons = reasons


class NodeFailed(PromptError):
    """A node raised.

    Attributes:
        title: The node's title, else its class.
        node_type: Its class.
        message: Its own text.
    """

    def __init__(self, title: str, node_type: str, message: str) -> None:
        super().__init__(f"failed at {title}: {_one_line(message)}")
        self.title, self.node_type, self.message = title, node_type, message


class ComfyClient:
    """A ComfyUI server.

    Args:
        address: "http://127.0.0.1:8188".

    Every method raises ``ServerError`` if there is no answer.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.client_id = uuid.uuid4().hex
        # A proxy named by the environment would be asked for this machine, too.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Any:
        """GET -> JSON; a status other than 200 is a ``ServerError``."""
        status, answer = self._request(path)
        if status != http.client.OK:
            raise ServerError(f"It answers /{path} with status {status}.")
        return self._parse(answer)

    def post(self, path: str, content: Any) -> tuple[int, Any]:
        """POST of JSON -> HTTP status and JSON."""
        status, answer = self._request(path, json.dumps(content).encode(), "application/json")
        return status, self._parse(answer or b"{}")

    def upload(self, name: str, png: bytes) -> None:
        """Puts a PNG into the input folder, for Load Image; an earlier one of that name is replaced."""
        boundary = uuid.uuid4().hex
        fields = {'name="overwrite"': b"true", 'name="type"': b"input"}
        fields[f'name="image"; filename="{name}"\r\nContent-Type: image/png'] = png
        parts = [
            f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + body + b"\r\n"
            for head, body in fields.items()
        ]
        content = b"".join(parts) + f"--{boundary}--\r\n".encode()
        status, _ = self._request("upload/image", content, f"multipart/form-data; boundary={boundary}")
        if status != http.client.OK:
            raise ServerError(f"It refused a photo with status {status}.")

    def run(self, graph: Graph, most_seconds: float, on_poll: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Queues a graph and waits for its end; if anything interrupts that, the prompt is cancelled.

        Args:
            graph: In API format.
            most_seconds: After that the prompt is given up.
            on_poll: Called between two looks; what it raises interrupts the waiting.

        Returns:
            The entry of the server's history.

        Raises:
            PromptError: Refused, failed, interrupted at the server, lost, or not done in time.
        """
        prompt = self.queue(graph)
        try:
            entry = self._wait(prompt, most_seconds, on_poll)
        except BaseException:
            self.cancel(prompt)
            raise
        raise_failure(entry, graph)
        return entry

    def queue(self, graph: Graph) -> str:
        """Queues a graph; the prompt's id.

        Raises:
            PromptRefused: The server does not accept it.
        """
        status, answer = self.post("prompt", {"prompt": graph, "client_id": self.client_id})
        if status != http.client.OK or "prompt_id" not in answer:
            raise PromptRefused(_refusal_reasons(answer, graph))
        return str(answer["prompt_id"])

    def history(self, prompt: str) -> dict[str, Any] | None:
        """What is known of a finished prompt; None before."""
        return self.get(f"history/{prompt}").get(prompt)

    def cancel(self, prompt: str) -> None:
        """Takes a prompt out of the queue and stops it; a server that is gone is only a warning."""
        try:
            for path, content in (("queue", {"delete": [prompt]}), ("interrupt", {"prompt_id": prompt})):
                self._request(path, json.dumps(content).encode(), "application/json", _CANCEL_SECONDS)
        except ServerError as error:
            logger.warning("The prompt could not be stopped on the server: %s", error)

    def view(self, image: Mapping[str, str]) -> bytes:
        """The file of an image as the history names it: filename, subfolder, type.

        Raises:
            PromptError: The server does not have it.
        """
        place = {name: str(image.get(name, "")) for name in ("filename", "subfolder", "type")}
        status, content = self._request(f"view?{urllib.parse.urlencode(place)}")
        if status != http.client.OK:
            raise PromptError("the server cannot hand the picture over")
        return content

    def _wait(self, prompt: str, most_seconds: float, on_poll: Callable[[], None]) -> dict[str, Any]:
        deadline, polls_without = time.monotonic() + most_seconds, 0
        while time.monotonic() < deadline:
            entry = self.history(prompt)
            if entry is not None:
                return entry
            on_poll()
            polls_without = 0 if self._is_queued(prompt) else polls_without + 1
            if polls_without > _MOST_POLLS_WITHOUT_PROMPT:
                raise PromptError("the server lost the prompt")
            time.sleep(POLL_SECONDS)
        raise PromptError(f"took more than {most_seconds:g} seconds")

    def _is_queued(self, prompt: str) -> bool:
        queue = self.get("queue")
        return any(prompt in entry for entry in [*queue.get("queue_running", []), *queue.get("queue_pending", [])])

    def _request(
        self, path: str, content: bytes | None = None, content_type: str = "", seconds: float = _ANSWER_SECONDS
    ) -> tuple[int, bytes]:
        """HTTP status and body; with ``content`` a POST, else a GET."""
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            request = urllib.request.Request(f"{self.address}/{path}", content, headers)
            with self._opener.open(request, timeout=seconds) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ServerError(f"There is no answer ({type(reason).__name__}: {reason}).") from error

    def _parse(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError as error:
            raise ServerError("It does not answer as a ComfyUI does.") from error


def title_of(graph: Graph, node: str) -> str:
    """A node's title, else its class."""
    entry = graph.get(node, {})
    return str(entry.get("_meta", {}).get("title") or entry.get("class_type") or f"node {node}")


def raise_failure(entry: Mapping[str, Any], graph: Graph) -> None:
    """Raises PromptError if a prompt's history entry tells of a failure."""
    status = entry.get("status") or {}
    for kind, message in status.get("messages") or ():
        if kind == "execution_error":
            text = str(message.get("exception_message", "")).strip()
            node = str(message.get("node_id", ""))
            raise NodeFailed(title_of(graph, node), str(message.get("node_type", "")), text)
        if kind == "execution_interrupted":
            raise PromptError("interrupted at the server")
    if status.get("status_str", "success") != "success":
        raise PromptError("failed at the server")


def _refusal_reasons(answer: Any, graph: Graph) -> list[str]:
    answer = answer if isinstance(answer, dict) else {}
    node_errors = answer.get("node_errors")
    reasons = [
        f"{title_of(graph, node)}: {error.get('message', '')} {error.get('details', '')}".strip()
        for node, refused in (node_errors.items() if isinstance(node_errors, dict) else ())
        for error in refused.get("errors", [])
    ]
    error = answer.get("error", "")
    return reasons or [str(error.get("message", error) if isinstance(error, dict) else error)]


def _one_line(text: str, most: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]} ..."
