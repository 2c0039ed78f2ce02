"""The pack's server routes: ids and numbers in, clear errors out, nothing changed by what is wrong."""

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from tests.host.graphs import Graph, write_faces, write_inputs
from tests.host.server import Server

pytestmark = pytest.mark.server

FOLDER = quote("DynamicID für alle")
GOOD = {"id": "", "sliders": {"yaw": 20}, "neutralise": False}
BAD = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 4000,
    b'{"path": "/etc/passwd"}',
    b'{"id": "../../etc/passwd"}',
    b'{"id": 7}',
    b'{"sliders": [1, 2]}',
    b'{"sliders": {"yaw": "20"}}',
    b'{"sliders": {"yaw": true}}',
    b'{"sliders": {"yaw": NaN}}',
    b'{"sliders": {"yaw": 1e400}}',
    b'{"sliders": {"yaw": 61}}',
    b'{"sliders": {"nose": 1}}',
    b'{"neutralise": 1}',
    b'{"frame": -1}',
    b'{"frame": 0.5}',
    b'{"frame": true}',
]


def send(server: Server, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data=body)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def motion(server: Server, content: Any) -> tuple[int, dict[str, Any]]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    status, answer = send(server, "/dynamicid/motion", body)
    return status, json.loads(answer)


def test_a_motion_comes_back_moved(server: Server) -> None:
    status, answer = motion(server, GOOD)
    assert status == 200
    assert len(answer["before"]) == len(answer["after"]) == 106
    assert answer["before"] != answer["after"]
    assert answer["prompt"] == "in a neutral expression, in side view"
    assert answer["pose"] == [0, 20, 0]


def test_each_frame_of_a_motion_is_told_apart(server: Server) -> None:
    """Also from another motion with the same first frame and as many frames."""
    entries = []
    for views in ("front, left, right", "front, right, left"):
        graph = Graph()
        presets = graph.add("DynamicIDMotionPresets", expressions="happy", views=views, strength=1.0)
        sliders = graph.motion_of(motion=presets)
        entries.append(server.run(graph)["outputs"][sliders]["dynamicid_motion"][0]["id"])
    assert entries[0] != entries[1]
    answers = [motion(server, {"id": entries[0], "frame": frame})[1] for frame in range(3)]
    assert [answer["pose"][1] for answer in answers] == [0, -35, 35]
    assert [answer["frames"] for answer in answers] == [3] * 3
    assert answers[1]["prompt"] == "2 of 3: in a happy expression, in side view"
    assert motion(server, {"id": entries[0]})[1] == answers[0]
    status, answer = motion(server, {"id": entries[0], "frame": 3})
    assert (status, answer["error"]) == (404, "There is no frame 3; the motion has 3.")


@pytest.mark.parametrize("body", BAD, ids=lambda body: body[:24].decode("latin-1"))
def test_what_is_no_request_is_refused_in_words(server: Server, body: bytes) -> None:
    status, answer = motion(server, body)
    assert status == 400
    assert answer["error"]


def test_a_huge_request_is_not_read(server: Server) -> None:
    status, answer = motion(server, b'{"id": "' + b"0" * 50_000_000 + b'"}')
    assert status == 413
    assert "4096 bytes" in answer["error"]


def test_unknown_people_are_not_found(server: Server) -> None:
    assert motion(server, {**GOOD, "id": "0" * 32})[0] == 404
    for name in ("0" * 32, "..%2f..%2fetc%2fpasswd", "x", "0" * 5000):
        assert send(server, f"/dynamicid/people/{name}")[0] == 404


def test_many_requests_at_once_get_their_own_answers(server: Server) -> None:
    with ThreadPoolExecutor(16) as pool:
        wanted = [{**GOOD, "sliders": {"yaw": yaw}} if yaw % 3 else BAD[yaw % len(BAD)] for yaw in range(60)]
        answers = list(pool.map(lambda content: motion(server, content), wanted))
    for yaw, (status, answer) in enumerate(answers):
        assert status == (200 if yaw % 3 else 400)
        if status == 200:
            assert answer["pose"][1] == yaw


def test_presets_name_sliders_that_the_node_has(server: Server) -> None:
    presets = json.loads(send(server, "/dynamicid/presets")[1])
    sliders = server.get("object_info/DynamicIDMotionSliders")["DynamicIDMotionSliders"]["input"]["required"]
    for values in [*presets["expressions"].values(), *presets["poses"].values()]:
        for name, value in values.items():
            options = sliders[name][1]
            assert options["min"] <= value <= options["max"]
    of_the_head = {"yaw", "pitch", "roll"}
    assert all(set(values) == of_the_head for values in presets["poses"].values())
    assert all(set(values) == set(sliders) - of_the_head - {"neutralise"} for values in presets["expressions"].values())
    assert len(presets["expressions"]) == 7
    assert set(presets["poses"]) == {"left", "right", "up", "down"}


def test_a_run_leaves_people_for_the_canvas(server: Server) -> None:
    write_faces(server.base / "input" / "dynamicid" / "faces")
    graph = Graph()
    moved = graph.add("DynamicIDMotionSliders", face=graph.kept("anna"), neutralise=False, **dict.fromkeys(
        ("yaw", "pitch", "roll", "smile", "mouth_open", "eyebrows", "eyes_closed", "squint", "pucker", "jaw_sideways"),
        0.0,
    ))  # fmt: skip
    edited = graph.add(
        "DynamicIDRegionEditor", face_1=graph.kept("anna"), face_2=graph.kept("ben"), boxes="[[0, 0, 0.5, 1]]"
    )
    graph.preview([moved[0], 1])
    graph.preview([edited[0], 1])
    outputs = server.run(graph)["outputs"]
    (entry,) = outputs[moved[0]]["dynamicid_motion"]
    status, answer = motion(server, {**GOOD, "id": entry["id"]})
    assert status == 200
    assert answer["pose"] == [0, 25, 0]
    assert [entry["person"] for entry in outputs[edited[0]]["dynamicid_people"]] == [1, 2]


def crop_of(server: Server, width: float) -> str:
    """Runs a graph that leaves a person with a crop; the address of the crop."""
    graph = Graph()
    face = graph.encoded("anna.png")
    edited = graph.add("DynamicIDRegionEditor", face_1=face, boxes=f"[[0, 0, {width}, 1]]")
    graph.preview([edited[0], 1])
    (entry,) = server.run(graph)["outputs"][edited[0]]["dynamicid_people"]
    return f"/dynamicid/people/{entry['id']}"


@pytest.mark.parametrize(
    ("path", "content", "width"), [("history", {"clear": True}, 0.5), ("api/free", {"free_memory": True}, 0.7)]
)
def test_crops_are_stored_nowhere_and_end_with_history_and_cache(
    server: Server, path: str, content: Any, width: float
) -> None:
    write_inputs(server.base)
    crop = crop_of(server, width)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{crop}", timeout=60) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
    server.post(path, content)
    assert send(server, crop)[0] == 404
    assert send(server, crop_of(server, width + 0.1))[0] == 200


def test_a_person_ends_with_the_cache(server: Server) -> None:
    write_inputs(server.base)
    graph = Graph()
    sliders = graph.motion_of(face=graph.kept("cleo"))
    (entry,) = server.run(graph)["outputs"][sliders]["dynamicid_motion"]
    server.post("free", {"free_memory": True})
    deadline = time.monotonic() + 60
    while motion(server, {**GOOD, "id": entry["id"]})[0] == 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert motion(server, {**GOOD, "id": entry["id"]})[0] == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/extensions/{FOLDER}/dynamicid.js", 200),
        (f"/extensions/{FOLDER}/docs/DynamicIDApply/zh.md", 200),
        (f"/api/workflow_templates/{FOLDER}/one-person.json", 200),
        (f"/api/workflow_templates/{FOLDER}/one-person.jpg", 200),
        (f"/extensions/{FOLDER}/nothing.js", 404),
        (f"/extensions/{FOLDER}/..%2f__init__.py", 404),
        (f"/extensions/{FOLDER}/..%2f..%2f..%2fetc%2fpasswd", 404),
        (f"/extensions/{FOLDER}/", 404),
        (f"/extensions/{FOLDER}/%00", 404),
        (f"/extensions/{FOLDER}/{'0' * 5000}", 404),
        (f"/extensions/{FOLDER}/{'0/' * 2500}", 404),
        (f"/extensions/{FOLDER}/%ff%fe", 404),
        (f"/api/workflow_templates/{FOLDER}/%00.json", 404),
    ],
)
def test_only_what_belongs_to_the_page_is_served(server: Server, path: str, status: int) -> None:
    assert send(server, path)[0] == status
