"""Saved workflows (the UI format) as prompts (the API format), the way ComfyUI's page makes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NOTES = {"Note", "MarkdownNote"}
"""Node types that live on the page only."""

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
"""A combo of newer hosts whose choice brings further widgets."""
_WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DYNAMIC_COMBO}
_SEEDS = {"seed", "noise_seed"}
_MODE_ACTIVE = 0


def api_graph(workflow: dict[str, Any], object_info: dict[str, Any]) -> dict[str, Any]:
    """The prompt of a workflow.

    Args:
        workflow: Version 0.4, as the page saves it; every node active, no sub-graphs, no reroutes.
        object_info: The server's answer at ``/object_info``, which gives the order of the widgets.

    Returns:
        Node id -> ``class_type`` and ``inputs``; a link is ``[node id, output]``.

    Raises:
        ValueError: A muted or bypassed node, or more or fewer widget values than the node has widgets.
    """
    links = {link[0]: link for link in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        if node["type"] in NOTES:
            continue
        if node["mode"] != _MODE_ACTIVE:
            raise ValueError(f"node {node['id']} ({node['type']}) is muted or bypassed")
        inputs = _widget_values(node, object_info[node["type"]])
        for entry in node["inputs"]:
            if entry["link"] is not None:
                _, source, output, *_ = links[entry["link"]]
                inputs[entry["name"]] = [str(source), output]
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


def input_specs(info: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name, type (a list for older combos) and options of every input of a node, in the node's order."""
    for group in ("required", "optional"):
        for name in info["input_order"].get(group, []):
            kind, *options = info["input"][group][name]
            yield name, kind, options[0] if options else {}


def is_widget(kind: Any, options: dict[str, Any]) -> bool:
    """Whether an input of this type is a widget and not only a socket."""
    return (isinstance(kind, list) or kind in _WIDGET_TYPES) and not options.get("forceInput", False)


def _widget_values(node: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """Input name -> value; values of the page's own widgets (what to do with a seed, upload) are passed over.

    Optional widgets that came after the workflow was saved keep their defaults.
    """
    values = list(node["widgets_values"])
    found: dict[str, Any] = {}

    def take(name: str, kind: Any, options: dict[str, Any], is_optional: bool) -> None:
        if not values and is_optional:
            return
        if not values:
            raise ValueError(f"node {node['id']} ({node['type']}) has no value for its widget {name!r}")
        found[name] = values.pop(0)
        page_widgets = (options.get("control_after_generate") or name in _SEEDS) + bool(
            options.get("image_upload") or options.get("video_upload")
        )
        del values[:page_widgets]
        if kind == DYNAMIC_COMBO:
            (chosen,) = (option for option in options["options"] if option["key"] == found[name])
            for group, inputs in chosen["inputs"].items():
                for below, (own_kind, *own_options) in inputs.items():
                    take(f"{name}.{below}", own_kind, own_options[0] if own_options else {}, group == "optional")

    for name, kind, options in input_specs(info):
        if is_widget(kind, options):
            take(name, kind, options, name in info["input"].get("optional", {}))
    if values:
        raise ValueError(f"node {node['id']} ({node['type']}) has values for no widget: {values}")
    return found
