"""What the host writes into history and log about a node's inputs tells nothing of a person."""

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
    return {
        "DYNAMICID": dynamicid,
        "FACE_ANALYSIS": pack.load("dynamicid.faces.analysis").load_face_analysis(FACE_PACK, "CPU"),
        "DYNAMICID_FACE": face,
        "DYNAMICID_MOTION": motions.described_motion(face.landmarks_106, face.pose),
        "DYNAMICID_REGIONS": (regions.Region(face, (0.0, 0.0, 0.5, 1.0)), regions.Region(face, mask=mask)),
        "DYNAMICID_ACTIVATION": pack.load("dynamicid.host.recorder").ActivationRecord((4,), True),
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
