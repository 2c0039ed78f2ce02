"""A hub on 127.0.0.1 that serves files the way huggingface.co does: metadata by HEAD, bytes by GET
(redirected to a delivery network), with ranges."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34


@dataclass
class FakeHub:
    """Contents by "<repo>/<path>", and how the server misbehaves.

    Attributes:
        files: What it serves.
        checksums: ETags that differ from the truth.
        break_after: Bytes of a GET's body after which the connection ends; further GETs are refused.
        ranges: Range headers of the GETs it has answered ("" = whole file).
    """

    files: dict[str, bytes]
    checksums: dict[str, str] = field(default_factory=dict)
    break_after: int | None = None
    ranges: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Runs ``hub`` in a thread; its ``address`` is a value for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            if with_body and not self.path.startswith("/cdn/"):
                return self.redirect()
            repo_and_revision, _, path = self.path.removeprefix("/cdn").partition("/resolve/")
            name = f"{repo_and_revision.strip('/')}/{path.partition('/')[2]}"
            content = hub.files.get(name)
            if content is None or (with_body and hub.break_after == 0):
                return self.refuse(404 if content is None else 403)
            wanted = self.headers.get("Range", "")
            start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{hub.checksums.get(name) or hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if with_body:
                self.send_body(content[start:], wanted)

        def send_body(self, body: bytes, wanted: str) -> None:
            hub.ranges.append(wanted)
            if hub.break_after is None:
                self.wfile.write(body)
                return
            self.wfile.write(body[: hub.break_after])
            hub.break_after = 0
            self.close_connection = True

        def redirect(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{hub.address}/cdn{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def refuse(self, status: int) -> None:
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
