"""Spoilt weight files, chosen at the loader of a running server: refused in words, no code runs, the queue goes on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.checkpoints.malformed import CANARY, EXPECTED_TEXT, MALFORMED
from tests.host.graphs import Graph, picture_of, pixels, write_inputs
from tests.host.server import PromptFailed, Server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def spoilt(server: Server) -> Iterator[dict[str, str]]:
    """Every spoilt file in a folder of its own below models/dynamicid; case name -> name in the loader's combo."""
    write_inputs(server.base)
    root = server.base / "models" / "dynamicid"
    names = {}
    for case, write in MALFORMED.items():
        folder = root / "spoilt" / case
        folder.mkdir(parents=True)
        names[case] = write(folder).relative_to(root).as_posix()
    yield names
    shutil.rmtree(root / "spoilt")


def _load(server: Server, saa: str) -> None:
    graph = Graph()
    graph.look(graph.networks(saa))
    server.run(graph)


def _listed(server: Server) -> list[str]:
    loader = server.get("object_info/DynamicIDLoader")["DynamicIDLoader"]["input"]["required"]["saa"]
    return loader[1]["options"] if loader[0] == "COMBO" else loader[0]


def _good_picture(server: Server, seed: int) -> np.ndarray:
    # The seed of a node that paints nothing keeps the good prompt from being answered by the cache.
    graph = picture_of(["anna", "ben"], layout_strength=0.0, layout_end=seed / 100)
    return pixels(server.images(server.run(graph))[0])


def test_every_spoilt_file_is_refused_in_words_and_the_server_goes_on(server: Server, spoilt: dict[str, str]):
    """One prompt a file, without a restart, and the very same good picture before and after."""
    before = _good_picture(server, 1)
    wrong = {}
    for case, name in spoilt.items():
        with pytest.raises(PromptFailed) as refusal:
            _load(server, name)
        node, message = refusal.value.node, refusal.value.message
        # A file that is gone, or is a folder, or has a strange suffix, is not found in the list at all.
        expected = EXPECTED_TEXT[case] if case not in ("missing", "folder") else "There is no weight file"
        if node != "DynamicIDLoader" or not message.startswith("saa: ") or expected not in message:
            wrong[case] = f"{node}: {message}"
    assert wrong == {}
    assert spoilt
    assert not list((server.base / "models").resolve().rglob(CANARY))
    assert not list((server.base / "models" / "dynamicid").resolve().rglob(CANARY))
    assert np.array_equal(_good_picture(server, 2), before)


def test_spoilt_files_are_listed_without_a_restart(server: Server, spoilt: dict[str, str]):
    """The list shows what has a weight file's suffix; what is inside is told when it is chosen."""
    listed = _listed(server)
    assert spoilt["code_in_zip"] in listed
    assert spoilt["wrong_extension"] not in listed
    assert spoilt["missing"] not in listed


def test_a_mended_file_loads_under_the_same_name(server: Server, spoilt: dict[str, str]):
    name = spoilt["zip_50_percent"]
    with pytest.raises(PromptFailed):
        _load(server, name)
    folder = server.base / "models" / "dynamicid"
    shutil.copy(folder / "SAA.bin", folder / name)
    _load(server, name)


def test_a_file_spoilt_after_it_was_loaded_is_read_again(server: Server, spoilt: dict[str, str]):
    folder = server.base / "models" / "dynamicid"
    copy = folder / "spoilt" / "fresh.bin"
    shutil.copy(folder / "SAA.bin", copy)
    _load(server, "spoilt/fresh.bin")
    Path(copy).write_bytes(b"no weights any more")
    with pytest.raises(PromptFailed, match="not a PyTorch file"):
        _load(server, "spoilt/fresh.bin")
