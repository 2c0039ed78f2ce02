"""The blueprints in `subgraphs/`: offered in the page's node library, put on the canvas, wired and painted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dynamicid.evaluation.comfy_client import ServerError
from tests.host.browser import Canvas, inside_its_node
from tests.host.graphs import CHECKPOINT
from tests.host.server import Server

pytestmark = pytest.mark.server

FILES = sorted((Path(__file__).resolve().parents[3] / "subgraphs").glob("*.json"))
_STORE = "document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s.get('subgraph')"
_IS_LOADED = f"(() => {{ try {{ return {_STORE}.getBlueprint(argument); }} catch {{ return null; }} }})()"
# As a double click in the node library does it.
_ADD = (
    f"const {{ nodes, definitions }} = {_STORE}.getBlueprint(argument);"
    "app.canvas._deserializeItems({ nodes, subgraphs: definitions.subgraphs }, { position: [380, 60] });"
    "return app.graph.nodes.at(-1).id;"
)
DRAWINGS = {"Two people in boxes": ".dynamicid-editor", "Edit expression": ".dynamicid-motion"}


@pytest.fixture(scope="module")
def offered(page_server: Server) -> dict[str, str]:
    """Title -> the page's name of each blueprint of the pack; skips where the host knows no blueprints of packs."""
    try:
        listing = page_server.get("global_subgraphs")
    except ServerError:
        pytest.skip("this host knows no blueprints of packs")
    return {
        entry["name"]: f"SubgraphBlueprint.{key}"
        for key, entry in listing.items()
        if "DynamicID" in entry["info"]["node_pack"]
    }


@pytest.fixture(scope="module")
def painted() -> list[Any]:
    """Renumbered prompts that the server has painted: equal ones of another frontend or design would load all again."""
    return []


def renumbered(prompt: dict[str, Any]) -> list[Any]:
    """The nodes of a prompt in its order, with their positions in it for node ids."""
    positions = {node: position for position, node in enumerate(prompt)}

    def moved(value: Any) -> Any:
        is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
        return [positions[value[0]], value[1]] if is_link else value

    return [
        (node["class_type"], {name: moved(value) for name, value in node["inputs"].items()}) for node in prompt.values()
    ]


def test_the_server_offers_all_blueprints(offered: dict[str, str]) -> None:
    assert sorted(offered) == [file.stem for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_blueprint_becomes_a_node_that_paints(
    empty: Canvas, design: str, offered: dict[str, str], file: Path, pictures: Path, painted: list[Any]
) -> None:
    empty.wait_until(_IS_LOADED, offered[file.stem])
    host = empty.run(_ADD, offered[file.stem])
    if file.stem in DRAWINGS:
        empty.page.locator(f"{DRAWINGS[file.stem]}:visible").wait_for()
        empty.page.wait_for_timeout(700)
    empty.picture(pictures, f"blueprint-{file.stem}-{design}-{empty.frontend}")
    if file.stem in DRAWINGS:
        inside_its_node(empty, host, DRAWINGS[file.stem])
    picture, prompt = str(wire(empty, host)), empty.prompt()
    assert picture in prompt
    if renumbered(prompt) not in painted:
        assert empty.server.run(prompt)["outputs"][picture]["images"]
        painted.append(renumbered(prompt))


def wire(page: Canvas, host: int) -> int:
    """Wires a blueprint's node to a checkpoint, photos and a sampler; the id of the node that shows the picture."""
    models = page.add("CheckpointLoaderSimple", 0, 0)
    page.set_widget(models, "ckpt_name", CHECKPOINT)
    names = page.run("return app.graph.getNodeById(argument).inputs.map((input) => input.name);", host)
    for name in names:
        if name.startswith("image"):
            photo = page.add("LoadImage", 0, 300)
            page.set_widget(photo, "image", "anna.png" if name != "image_2" else "ben.png")
            page.connect(photo, 0, host, name)
    page.connect(models, 0, host, "model")
    if "clip" in names:
        page.connect(models, 1, host, "clip")
    sampler, decoder = page.add("KSampler", 1000, 0), page.add("VAEDecode", 1300, 0)
    page.set_widget(sampler, "steps", 2)
    page.connect(host, 0, sampler, "model")
    for kind in ("positive", "negative"):
        words = page.add("CLIPTextEncode", 1000, 300)
        page.connect(models, 1, words, "clip")
        page.connect(words, 0, sampler, kind)
    latent = page.add("EmptyLatentImage", 1000, 600)
    page.set_widget(latent, "width", 96)
    page.set_widget(latent, "height", 64)
    page.connect(latent, 0, sampler, "latent_image")
    page.connect(sampler, 0, decoder, "samples")
    page.connect(models, 2, decoder, "vae")
    shown = page.add("PreviewImage", 1300, 200)
    page.connect(decoder, 0, shown, "images")
    return shown
