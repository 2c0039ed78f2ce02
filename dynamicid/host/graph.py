"""What the graph that is running looks like around the node that the host is calling, and a line on that node."""

from __future__ import annotations

from collections import deque
from typing import Any

from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ..files.digests import digest
from .server import running_server


def output_is_connected(output: int) -> bool:
    """Whether anything in the running prompt takes output number ``output`` of this node; False outside a prompt.

    The node is asked for by the host's execution context: hidden inputs are not there in ``fingerprint_inputs`` on
    every host (0.3.64 hands them to ``execute`` only).
    """
    context = get_executing_context()
    prompt = get_progress_state().dynprompt
    if context is None or not prompt.has_node(context.node_id):
        return False
    return any(
        is_link(value) and list(value) == [context.node_id, output]
        for other in prompt.all_node_ids()
        for value in prompt.get_node(other)["inputs"].values()
    )


def running_node_key() -> str:
    """Says of the running node what it computes: its class and inputs, and those of all nodes before it; "" outside."""
    context = get_executing_context()
    prompt = get_progress_state().dynprompt
    return _node_key(prompt, context.node_id, {}) if context is not None and prompt.has_node(context.node_id) else ""


def keys_before_input(name: str) -> list[str]:
    """``running_node_key`` of the nodes before an input of the running node, the nearest first; [""] outside."""
    context = get_executing_context()
    prompt = get_progress_state().dynprompt
    if context is None or not prompt.has_node(context.node_id):
        return [""]
    known: dict[str, str] = {}
    seen, waiting = [], deque([prompt.get_node(context.node_id)["inputs"].get(name)])
    while waiting:
        link = waiting.popleft()
        if is_link(link) and link[0] not in seen:
            seen.append(link[0])
            waiting.extend(prompt.get_node(link[0])["inputs"].values())
    return [_node_key(prompt, node, known) for node in seen]


def show_on_node(text: str) -> None:
    """Writes a line on the running node, as the host's Get Image Size does; outside of a server nothing happens."""
    context, server = get_executing_context(), running_server()
    if context is not None and server is not None:
        server.send_progress_text(text, context.node_id)


def _node_key(prompt: Any, node_id: str, known: dict[str, str]) -> str:
    if node_id not in known:
        node = prompt.get_node(node_id)
        inputs = {
            name: [_node_key(prompt, value[0], known), value[1]] if is_link(value) else value
            for name, value in node["inputs"].items()
        }
        known[node_id] = digest(node["class_type"], inputs)
    return known[node_id]
