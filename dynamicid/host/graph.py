"""What the graph that is running looks like around one node."""

from __future__ import annotations

from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state


def output_is_connected(node_id: str | None, output: int) -> bool:
    """Whether anything in the running prompt takes output number ``output`` of ``node_id``; False outside a prompt."""
    prompt = get_progress_state().dynprompt
    if node_id is None or not prompt.has_node(node_id):
        return False
    return any(
        is_link(value) and list(value) == [node_id, output]
        for other in prompt.all_node_ids()
        for value in prompt.get_node(other)["inputs"].values()
    )
