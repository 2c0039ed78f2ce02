"""What the graph that is running looks like around the node that the host is calling."""

from __future__ import annotations

from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context


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
