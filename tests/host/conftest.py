"""Host tests run in a real ComfyUI: in this process for single nodes, as a server for whole graphs."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from demo.graphs import APPLY_DEFAULTS
from scripts._bootstrap import find_host
from scripts._pack import load_pack
from tests.host.server import Server
from tests.standin.host_files import mini_unet_shapes, write_checkpoint, write_clip_vision
from tests.standin.rule import rule_input, rule_state
from tests.standin.weight_files import write_published_files

ROOT = Path(__file__).resolve().parents[2]
HOST = find_host()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if HOST is None:
        skip = pytest.mark.skip(reason="no ComfyUI found: set COMFYUI_PATH to run the host tests")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def comfy() -> Iterator[ModuleType]:
    """The host's ``comfy`` package, in this process, on the CPU."""
    assert HOST is not None
    sys.path.insert(0, str(HOST))
    options = importlib.import_module("comfy.cli_args").args
    options.cpu = True
    yield importlib.import_module("comfy")
    sys.path.remove(str(HOST))


class Pack:
    """The pack as the host loads it: under a name derived from its path."""

    def __init__(self, module: ModuleType, nodes: dict[str, Any]) -> None:
        self.module = module
        self.nodes = nodes

    def load(self, name: str) -> Any:
        """A module of the pack, such as ``dynamicid.faces.face``."""
        return importlib.import_module(f"{self.module.__name__}.{name}")

    def run(self, node_id: str, **inputs: Any) -> tuple[Any, ...]:
        """Outputs of a node called as the host calls it."""
        node = self.nodes[node_id]
        node.GET_SCHEMA()
        return node.EXECUTE_NORMALIZED(**inputs).result


@pytest.fixture(scope="session")
def pack(comfy: ModuleType) -> Pack:
    """All nodes of the pack."""
    module, nodes = load_pack()
    return Pack(module, {node.GET_SCHEMA().node_id: node for node in nodes})


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published-layout weight files for the small UNet."""
    folder = tmp_path_factory.mktemp("weights")
    write_published_files(folder, mini_unet_shapes())
    return folder


@pytest.fixture(scope="session")
def dynamicid(pack: Pack, weights_folder: Path) -> Any:
    """The loaded networks for the small UNet."""
    return pack.load("dynamicid.checkpoints.weights").load_weights(
        weights_folder / "SAA.bin", weights_folder / "IMR.bin"
    )


@pytest.fixture(scope="session")
def mini_model(comfy: ModuleType) -> Any:
    """The small SD1.5 of the golden cases, in float32."""
    sd = importlib.import_module("comfy.sd")
    state = rule_state("unet", mini_unet_shapes())
    return sd.load_diffusion_model_state_dict(state, model_options={"dtype": torch.float32})


@pytest.fixture(scope="session")
def make_face(pack: Pack) -> Any:
    """Faces by rule: ``make_face("anna")``."""
    face_type = pack.load("dynamicid.faces.face").Face

    def make(name: str) -> Any:
        embedding = rule_input(f"face.{name}.id_embedding", (512,))
        return face_type(
            id_tokens=rule_input(f"face.{name}.id_tokens", (4, 768)),
            negative_tokens=rule_input(f"face.{name}.negative_tokens", (4, 768)),
            id_embedding=embedding / embedding.norm(),
            landmarks_106=rule_input(f"face.{name}.landmarks", (106, 2)) * 60 + 256,
            pose=torch.tensor([0.0, 5.0, 0.0]),
        )

    return make


@pytest.fixture(scope="session")
def make_regions(pack: Pack, make_face: Any) -> Any:
    """Regions by rule: ``make_regions({"anna": (x, y, w, h), "ben": mask_tensor, "cleo": None})``."""
    region_type = pack.load("dynamicid.faces.regions").Region

    def make(people: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(
            region_type(make_face(name), mask=place) if isinstance(place, torch.Tensor) else
            region_type(make_face(name), place)
            for name, place in people.items()
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def apply_options() -> dict[str, Any]:
    """The Apply node's default inputs."""
    return dict(APPLY_DEFAULTS)


@pytest.fixture(scope="session")
def apply(pack: Pack, dynamicid: Any, apply_options: dict[str, Any]) -> Any:
    """``apply(model, face=... or regions=..., weight=...)`` -> the patched model, through the node."""

    def run(model: Any, **inputs: Any) -> Any:
        return pack.run("DynamicIDApply", model=model, dynamicid=dynamicid, **{**apply_options, **inputs})[0]

    return run


@pytest.fixture(scope="session")
def conditioning() -> Any:
    """``conditioning("sea", tokens=77)`` -> a conditioning by rule, as CLIPTextEncode makes one."""

    def make(name: str, tokens: int = 77, **extra: Any) -> list[Any]:
        return [[rule_input(f"text.{name}", (1, tokens, 768)), {"pooled_output": None, **extra}]]

    return make


@pytest.fixture(scope="session")
def sample(comfy: ModuleType, conditioning: Any) -> Any:
    """``sample(model, size=(height, width), ...)`` -> latent samples through the host's own KSampler."""
    sampling = importlib.import_module("comfy.sample")

    def run(
        model: Any,
        size: tuple[int, int] = (64, 64),
        *,
        positive: list[Any] | None = None,
        negative: list[Any] | None = None,
        **given: Any,
    ) -> torch.Tensor:
        settings = SimpleNamespace(**{"cfg": 4.0, "batch": 1, "steps": 2, "seed": 7, "denoise": 1.0, **given})
        latent = getattr(settings, "latent", None)
        if latent is None:
            latent = torch.zeros(settings.batch, 4, size[0] // 8, size[1] // 8)
        with torch.inference_mode():
            noise = getattr(settings, "noise", None)
            if noise is None:
                noise = sampling.prepare_noise(latent, settings.seed)
            return sampling.sample(
                model,
                noise,
                settings.steps,
                settings.cfg,
                getattr(settings, "sampler", "ddim"),
                "simple",
                conditioning("sea") if positive is None else positive,
                conditioning("nothing") if negative is None else negative,
                latent,
                denoise=settings.denoise,
                disable_pbar=True,
                seed=settings.seed,
            ).clone()

    return run


@pytest.fixture(scope="session")
def golden() -> Any:
    """``golden("unet_single")`` -> (case settings, tensors)."""
    from safetensors import safe_open

    def read(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        with safe_open(ROOT / "tests" / "data" / "golden" / f"{name}.safetensors", "pt") as file:
            case = json.loads(file.metadata()["case"])
            return case, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)

    return read


@pytest.fixture(scope="session")
def model_files(comfy: ModuleType, tmp_path_factory: pytest.TempPathFactory, weights_folder: Path) -> Path:
    """A ``models`` folder with every file a workflow needs, by rule: checkpoint, ViT-H, weights, ONNX pack."""
    from tests.standin.onnx_pack import write_onnx_pack

    models = tmp_path_factory.mktemp("base") / "models"
    write_checkpoint(models / "checkpoints" / "small.safetensors", mini_unet_shapes())
    write_clip_vision(models / "clip_vision" / "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors")
    write_onnx_pack(models / "insightface" / "models" / "buffalo_l")
    (models / "dynamicid").symlink_to(weights_folder)
    return models


@pytest.fixture(scope="session")
def server(model_files: Path) -> Iterator[Server]:
    """A running ComfyUI with the pack in a folder whose name has a space and an umlaut.

    Whatever the tests do with it, it reaches nobody and leaves nothing in the user's home folder.
    """
    assert HOST is not None
    base = model_files.parent
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / "DynamicID für alle").symlink_to(ROOT)
    with Server(HOST, base, watch=True) as running:
        yield running
    assert running.phoned_home() == []
