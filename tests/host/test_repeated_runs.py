"""The same prompt on one server gives the same picture, whatever was painted in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.host.graphs import CHECKPOINT, Graph, Link, pixels, write_inputs
from tests.host.server import PromptFailed, Server

pytestmark = pytest.mark.server
RUNS = 10
OTHER_CHECKPOINT = "other.safetensors"
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)
PAINTED_ANEW = {"DynamicIDApply", "KSampler", "VAEDecode"}


@pytest.fixture(scope="module")
def two_checkpoints(server: Server) -> Iterator[Server]:
    """A server with a second checkpoint, whose UNet differs in every weight."""
    folder = server.base / "models" / "checkpoints"
    state = load_file(folder / CHECKPOINT)
    unet = {key: tensor * 0.9 for key, tensor in state.items() if key.startswith("model.diffusion_model.")}
    save_file({**state, **unet}, folder / OTHER_CHECKPOINT)
    write_inputs(server.base)
    yield server
    (folder / OTHER_CHECKPOINT).unlink()


def _reference() -> Graph:
    graph = Graph()
    people = graph.regions([graph.kept("anna"), graph.kept("ben")], [LEFT, RIGHT])
    _paint(graph, graph.apply(regions=people))
    return graph


def _paint(graph: Graph, model: Link, **settings: Any) -> None:
    graph.preview(graph.sampled(model, size=(64, 96), **settings))
    graph.add("SaveLatent", samples=["KSampler", 0], filename_prefix="repeated")


def _other_people(graph: Graph) -> None:
    people = graph.regions([graph.kept("cleo"), graph.kept("dora"), graph.kept("anna")])
    _paint(graph, graph.apply(regions=people, lora_strength=0.5, layout_strength=4.0), seed=5)


def _nobody(graph: Graph) -> None:
    _paint(graph, graph.checkpoint()[0])


def _other_model(graph: Graph) -> None:
    model = graph.add("CheckpointLoaderSimple", ckpt_name=OTHER_CHECKPOINT)
    _paint(graph, graph.apply(model, regions=graph.regions([graph.kept("anna"), graph.kept("ben")], [LEFT, RIGHT])))


def _twice_and_recorded(graph: Graph) -> None:
    """Apply after Apply, an edited face, and the activation output connected."""
    first = graph.apply(face=graph.kept("emil"), weight=0.5)
    second = graph.apply(first, face=graph.edited(graph.kept("anna")), gate=False)
    _paint(graph, second, cfg=1.0)
    graph.preview(graph.add("DynamicIDActivationPreview", activation=graph.output(second, 1), image=["VAEDecode", 0]))


def _refused(graph: Graph) -> None:
    _paint(graph, graph.apply(regions=graph.regions([graph.kept("anna")] * 9)))


IN_BETWEEN = (_other_people, _nobody, _other_model, _twice_and_recorded, _refused)


def _result(server: Server, entry: dict[str, Any]) -> tuple[bytes, bytes]:
    """The picture's pixels and the latent behind it."""
    (latent,) = entry["outputs"]["SaveLatent"]["latents"]
    file = server.base / latent["type"] / latent["subfolder"] / latent["filename"]
    return pixels(server.images(entry)[0]).tobytes(), _latent(file)


def _latent(file: Path) -> bytes:
    return load_file(file)["latent_tensor"].numpy().tobytes()


def test_the_same_prompt_ten_times(two_checkpoints: Server) -> None:
    server = two_checkpoints
    first = _result(server, server.run(_reference()))
    results = {first}
    for number in range(1, RUNS):
        graph, paint = Graph(), IN_BETWEEN[number % len(IN_BETWEEN)]
        paint(graph)
        if paint is _refused:
            with pytest.raises(PromptFailed, match="8"):
                server.run(graph)
        else:
            results.add(_result(server, server.run(graph)))
        entry = server.run(_reference())
        assert server.executed(entry) >= PAINTED_ANEW
        assert _result(server, entry) == first, f"run {number + 1}, after {paint.__name__}"
    # What was painted in between is always the same four pictures, each another one.
    assert len(results) == 1 + len(IN_BETWEEN) - 1
