"""The client of ComfyUI's HTTP API, against a server that answers as ComfyUI does."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from dynamicid.evaluation import comfy_client
from dynamicid.evaluation.comfy_client import (
    ComfyClient,
    NodeFailed,
    PromptError,
    PromptRefused,
    ServerError,
    raise_failure,
    title_of,
)

from .fake_comfy import FakeComfy, serving


@pytest.fixture
def comfy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeComfy]:
    monkeypatch.setattr(comfy_client, "POLL_SECONDS", 0.001)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(FakeComfy()) as running:
        yield running


def graph_of(*classes: str, title: str = "") -> dict[str, Any]:
    meta = {"_meta": {"title": title}} if title else {}
    return {str(number): {"class_type": name, "inputs": {}, **meta} for number, name in enumerate(classes, 3)}


def test_a_graph_runs_to_its_end(comfy: FakeComfy):
    client = ComfyClient(f"{comfy.address}/")
    graph = graph_of("LoadImage", "SaveImage")
    entry = client.run(graph, 5)
    assert comfy.graphs == [graph]
    assert comfy.interrupted == []
    (image,) = entry["outputs"]["4"]["images"]
    with pytest.raises(PromptError, match="cannot hand the picture over"):
        client.view(image)
    comfy.picture = b"\x89PNG\r\n\x00picture"
    assert client.view(image) == comfy.picture


def test_an_upload_arrives_byte_by_byte(comfy: FakeComfy):
    content = bytes(range(256)) + b"\r\n--x\r\n"
    ComfyClient(comfy.address).upload("a person.png", content)
    assert comfy.uploads == {"a person.png": content}


def test_a_refused_graph_tells_the_node_and_the_reason(comfy: FakeComfy):
    with pytest.raises(PromptRefused) as caught:
        ComfyClient(comfy.address).run(graph_of("Refused", title="Apply"), 5)
    assert caught.value.reasons == ["Apply: Value not in list saa: 'x'"]
    assert str(caught.value) == "refused: Apply: Value not in list saa: 'x'"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"error": {"message": "No prompt"}, "node_errors": []}, "No prompt"),
        ({"error": "no prompt", "node_errors": {}}, "no prompt"),
        ([], ""),
    ],
)
def test_a_refusal_without_node_errors(answer: Any, reason: str, comfy: FakeComfy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(comfy, "queue", lambda graph: (400, answer))
    with pytest.raises(PromptRefused) as caught:
        ComfyClient(comfy.address).queue({})
    assert caught.value.reasons == [reason]


def test_a_node_that_raises_is_named_with_its_text(comfy: FakeComfy):
    with pytest.raises(NodeFailed) as caught:
        ComfyClient(comfy.address).run(graph_of("Fails", title="Encode Face"), 5)
    error = caught.value
    assert (error.title, error.node_type, error.message) == ("Encode Face", "Fails", "No face\nwas found.")
    assert str(error) == "failed at Encode Face: No face was found."
    assert comfy.interrupted == []


@pytest.mark.parametrize(
    ("node", "reason", "is_cancelled"), [("Endless", "took more than 0.2 seconds", True), ("Lost", "lost", True)]
)
def test_a_prompt_that_does_not_end_is_cancelled(node: str, reason: str, is_cancelled: bool, comfy: FakeComfy):
    with pytest.raises(PromptError, match=reason):
        ComfyClient(comfy.address).run(graph_of(node), 0.2 if node == "Endless" else 60)
    assert bool(comfy.interrupted) == is_cancelled


def test_what_interrupts_the_waiting_cancels_the_prompt(comfy: FakeComfy):
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ComfyClient(comfy.address).run(graph_of("Endless"), 60, stop)
    assert comfy.interrupted == comfy.running


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"status_str": "error", "messages": [["execution_interrupted", {}]]}, "interrupted at the server"),
        ({"status_str": "error", "messages": []}, "failed at the server"),
        ({"messages": [["execution_error", {"node_id": "3", "exception_message": "a\nb " * 200}]]}, "failed at Any: a"),
    ],
)
def test_failures_of_the_history(status: dict[str, Any], text: str):
    with pytest.raises(PromptError) as caught:
        raise_failure({"status": status}, graph_of("Any"))
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 350


def test_success_raises_nothing():
    raise_failure({"status": {"status_str": "success", "messages": [["execution_start", {}]]}}, {})
    raise_failure({}, {})


def test_titles():
    graph = {**graph_of("LoadImage", title="Photo"), "9": {"class_type": "SaveImage", "inputs": {}}}
    assert [title_of(graph, node) for node in ("3", "9", "x")] == ["Photo", "SaveImage", "node x"]


@pytest.mark.parametrize("address", ["http://127.0.0.1:{free}", "127.0.0.1:{free}", "ftp://127.0.0.1:{free}"])
def test_nobody_at_the_address(address: str):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with pytest.raises(ServerError, match="There is no answer"):
        ComfyClient(address.format(free=free)).get("system_stats")


def test_another_kind_of_server(comfy: FakeComfy, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ServerError, match="/nowhere with status 404"):
        ComfyClient(comfy.address).get("nowhere")
    monkeypatch.setattr(comfy, "answer", lambda *_: (200, b"<html>"))
    with pytest.raises(ServerError, match="does not answer as a ComfyUI"):
        ComfyClient(comfy.address).get("system_stats")
