"""A server that answers as ComfyUI's HTTP API does; what a node does follows from its class."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class FakeComfy:
    """What the server was told, and what it shows.

    Node classes: SaveImage saves ``picture``; Refused is refused, Fails raises, Endless runs until it is interrupted,
    Lost vanishes; any other one does nothing.

    Attributes:
        paint: Graph -> the picture that SaveImage saves, instead of ``picture``.
        seconds: Until a prompt is done.
        dies_at: With so many prompts taken, the server answers nobody any more.
    """

    picture: bytes = b""
    paint: Callable[[dict[str, Any]], bytes] | None = None
    seconds: float = 0.0
    dies_at: int | None = None
    address: str = ""
    uploads: dict[str, bytes] = field(default_factory=dict)
    graphs: list[dict[str, Any]] = field(default_factory=list)
    history: dict[str, Any] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    done_at: dict[str, float] = field(default_factory=dict)
    views: int = 0

    @property
    def is_dead(self) -> bool:
        return self.dies_at is not None and len(self.graphs) >= self.dies_at

    def queue(self, graph: dict[str, Any]) -> tuple[int, Any]:
        classes = {node["class_type"]: key for key, node in graph.items()}
        if "Refused" in classes:
            error = {"message": "Value not in list", "details": "saa: 'x'"}
            return 400, {"error": {"message": "Invalid"}, "node_errors": {classes["Refused"]: {"errors": [error]}}}
        prompt = uuid.uuid4().hex
        self.graphs.append(graph)
        self.done_at[prompt] = time.monotonic() + self.seconds
        if "Endless" in classes:
            self.running.append(prompt)
        elif "Fails" in classes:
            message = {"node_id": classes["Fails"], "node_type": "Fails", "exception_message": "No face\nwas found.\n"}
            self.history[prompt] = {"status": {"status_str": "error", "messages": [["execution_error", message]]}}
        elif "Lost" not in classes:
            image = {"filename": "a b.png", "subfolder": "x", "type": "output"}
            outputs = {classes["SaveImage"]: {"images": [image]}} if "SaveImage" in classes else {}
            self.history[prompt] = {"status": {"status_str": "success", "messages": []}, "outputs": outputs}
        return 200, {"prompt_id": prompt}

    def answer(self, path: str, query: dict[str, str], content: Any) -> tuple[int, Any]:
        if path == "/prompt":
            return self.queue(content["prompt"])
        if path == "/queue":
            if content:
                return 200, {}
            return 200, {"queue_running": [[0, prompt] for prompt in self.running], "queue_pending": []}
        if path == "/interrupt":
            self.interrupted.append(content["prompt_id"])
            return 200, {}
        if path.startswith("/history/"):
            prompt = path.rpartition("/")[2]
            is_done = prompt in self.history and time.monotonic() >= self.done_at[prompt]
            return 200, {prompt: self.history[prompt]} if is_done else {}
        if path == "/view":
            self.views += 1
            if self.paint is not None:
                return 200, self.paint(self.graphs[-1])
            is_there = query == {"filename": "a b.png", "subfolder": "x", "type": "output"}
            return (200, self.picture) if is_there and self.picture else (404, b"")
        return (200, {"system": {}}) if path == "/system_stats" else (404, {})


@contextmanager
def serving(comfy: FakeComfy) -> Iterator[FakeComfy]:
    """The server runs within the block; its address is set."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.respond(None)

        def parse_request(self) -> bool:
            # A connection that is closed without an answer is what a killed server leaves.
            self.close_connection = True
            return super().parse_request() and not comfy.is_dead

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/upload/image":
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n"
                self.receive(BytesParser().parsebytes(head.encode() + body))
                self.send(200, b"{}")
            else:
                self.respond(json.loads(body))

        def receive(self, form: Message) -> None:
            parts = {}
            for part in form.walk():
                parts[part.get_param("name", header="content-disposition")] = part
            fields = {name: parts[name].get_payload() for name in ("overwrite", "type")}
            assert fields == {"overwrite": "true", "type": "input"}
            content = parts["image"].get_payload(decode=True)
            assert isinstance(content, bytes)
            comfy.uploads[str(parts["image"].get_filename())] = content

        def respond(self, content: Any) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            status, answer = comfy.answer(parts.path, query, content)
            self.send(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    comfy.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield comfy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
