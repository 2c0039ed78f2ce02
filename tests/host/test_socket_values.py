"""Values of the socket types: what the host prints of them tells nothing of a person, and others are refused."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tiny_models.places import FACE_PACK

LONGEST = 160


@pytest.fixture(scope="module")
def values(pack: Any, dynamicid: Any, make_face: Any) -> dict[str, Any]:
    """One value of every socket type of the pack."""
    face = make_face("anna")
    regions, motions = pack.load("dynamicid.faces.regions"), pack.load("dynamicid.faces.motion")
    mask, crops = torch.rand(64, 64), pack.load("dynamicid.faces.crops")
    record = pack.load("dynamicid.host.recorder").ActivationRecord((4,), True)
    record.begin_run("a run")
    record.begin_evaluation(0)
    record.add(torch.rand(1, 1, 8, 8), [0], (8, 8), pack.load("dynamicid.attention.assignment").WHOLE)
    return {
        "DYNAMICID": dynamicid,
        "FACE_ANALYSIS": pack.load("dynamicid.faces.analysis").load_face_analysis(FACE_PACK, "CPU"),
        "DYNAMICID_FACE": face,
        "DYNAMICID_MOTION": motions.described_motion(face.landmarks_106, face.pose),
        "DYNAMICID_REGIONS": (regions.Region(face, (0.0, 0.0, 0.5, 1.0)), regions.Region(face, mask=mask)),
        "DYNAMICID_ACTIVATION": record,
        "DYNAMICID_CROPS": crops.Crops(
            torch.rand(1, 64, 64, 3), (crops.PersonCrop(0, 0, (0, 0, 64, 64), mask, torch.rand(64, 64, 3)),)
        ),
    }


def test_no_socket_type_prints_what_it_holds(pack: Any, values: dict[str, Any]):
    sockets = {
        socket.io_type
        for node in pack.nodes.values()
        for socket in (*node.GET_SCHEMA().inputs, *node.GET_SCHEMA().outputs)
    }
    own = {name for name in sockets if name.startswith("DYNAMICID") or name == "FACE_ANALYSIS"}
    assert own - {"DYNAMICID_BOXES"} == set(values)
    for name, value in values.items():
        assert len(str(value)) <= LONGEST, name
        assert "tensor" not in str(value), name


def test_faces_on_their_way_print_no_numbers(pack: Any):
    detected = pack.load("dynamicid.faces.detected").DetectedFace
    found = detected((1.0, 2.0, 3.0, 4.0), 0.9, *(torch.rand(n).numpy() for n in (212, 3, 512)))
    assert len(str(found)) <= LONGEST


@pytest.mark.parametrize("constant", ["anna", 7, 0.5, True, {"a": 1}, [[]], None], ids=str)
def test_a_constant_at_a_socket_is_named(pack: Any, constant: Any):
    """Prompts of the API may hold any constant where the canvas has a link."""
    refused = 0
    for node_id, socket in sockets_of(pack):
        if constant is None and (socket.optional or socket.get_io_type() in ("CLIP", "CLIP_VISION")):
            continue
        values = [constant] if pack.nodes[node_id].SCHEMA.is_input_list else constant
        with pytest.raises(ValueError, match=f"^{socket.id}: ") as caught:
            pack.run(node_id, **{socket.id: values})
        assert type(caught.value).__name__ == "DynamicIDError"
        assert socket.get_io_type() in str(caught.value)
        refused += 1
    assert refused > 20


def test_a_value_of_another_socket_type_is_named(pack: Any, values: dict[str, Any]):
    for node_id, socket in sockets_of(pack):
        for io_type, value in values.items():
            if socket.get_io_type() in values and io_type != socket.get_io_type():
                with pytest.raises(ValueError, match=f"^{socket.id}: .* instead of {socket.get_io_type()}"):
                    pack.run(node_id, **{socket.id: value})


def sockets_of(pack: Any) -> Iterator[tuple[str, Any]]:
    """Node ids and their inputs without a widget; boxes and landmarks of the host's own nodes may be constants."""
    widget_input = importlib.import_module("comfy_api.latest").io.WidgetInput
    for node_id, node in pack.nodes.items():
        for socket in node.GET_SCHEMA().inputs:
            is_plain = socket.get_io_type() in ("BOUNDING_BOX", "FACE_LANDMARKS")
            if not isinstance(socket, widget_input) and not is_plain:
                yield node_id, socket
