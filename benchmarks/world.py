"""What the benchmarks measure on: full-size SD1.5 in ComfyUI, people, places and photos, all by rule."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.naive import NaiveSettings, apply_naive
from scripts._bootstrap import find_host
from tests.standin.ip_adapter import find_ip_adapter, load_ip_adapter
from tests.standin.rule import rule_input, rule_state
from tests.standin.weight_files import write_published_files

SIGMA = 2.5
IP_ADAPTER_TOKENS = 4
Step = Callable[[], Any]


class World:
    """Two copies of the full model: one stays as it is, one has DynamicID's LoRA merged."""

    def __init__(self) -> None:
        host = find_host()
        assert host is not None
        sys.path.insert(0, str(host))
        arguments = importlib.import_module("comfy.cli_args").args
        arguments.cpu = not torch.cuda.is_available()
        # What the host takes by itself on GPUs; on a CPU its own choice is slower and would hide the patch's share.
        arguments.use_pytorch_cross_attention = True
        self.torch = torch
        self.management = importlib.import_module("comfy.model_management")
        self.device = self.management.get_torch_device()
        self.dtype = torch.float32 if arguments.cpu else torch.float16
        self.host_version = importlib.import_module("comfyui_version").__version__
        files = importlib.import_module("tests.standin.host_files")
        self.shapes = files.sd15_unet_shapes()
        self.weights = self._load_weights()
        self.apply = importlib.import_module("dynamicid.host.apply")
        state = rule_state("unet", self.shapes)
        self.plain, base = (self._load_model(state) for _ in range(2))
        self.merged, _ = self.apply.apply_dynamicid(
            base, self.weights, self.regions([(0.0, 0.0, 1.0, 1.0)]), self.apply.ApplyOptions(weight=0.0)
        )
        self.management.load_models_gpu([self.plain, self.merged])
        adapter = find_ip_adapter(host)
        self.ip_adapter = load_ip_adapter(adapter, self.shapes, IP_ADAPTER_TOKENS) if adapter else None
        self._patches: list[Any] = []

    def _load_weights(self) -> Any:
        weights = importlib.import_module("dynamicid.checkpoints.weights")
        with tempfile.TemporaryDirectory() as folder:
            write_published_files(Path(folder), self.shapes)
            return weights.load_weights(Path(folder) / "SAA.bin", Path(folder) / "IMR.bin")

    def _load_model(self, state: dict[str, Tensor]) -> Any:
        options = {"dtype": self.dtype}
        return importlib.import_module("comfy.sd").load_diffusion_model_state_dict(dict(state), model_options=options)

    def regions(self, places: list[Any]) -> tuple[Any, ...]:
        """A person by rule at each of ``places``: a box, a mask or None."""
        face_type = importlib.import_module("dynamicid.faces.face").Face
        region_type = importlib.import_module("dynamicid.faces.regions").Region
        regions = []
        for number, place in enumerate(places):
            tokens = [rule_input(f"bench.{number}.{name}", (4, 768)) for name in ("positive", "negative")]
            face = face_type(*tokens, torch.ones(512) / 512**0.5)
            is_mask = isinstance(place, Tensor)
            regions.append(region_type(face, mask=place) if is_mask else region_type(face, place))
        return tuple(regions)

    def variants(self, size: int, people: int, naive: bool) -> dict[str, Step]:
        """One UNet step (positive and negative together) of every way to do it, by name."""
        boxes = [(i / people, 0.1, 1 / people, 0.6) for i in range(people)]
        masks = [self._soft_mask(i, people, size) for i in range(people)]
        boxed, masked = self.regions(boxes), self.regions(list(masks))
        steps = {
            "unpatched": self._step(self.plain, size),
            "boxes": self._step(self._patched(boxed), size),
            "masks": self._step(self._patched(masked), size),
        }
        if self.ip_adapter is not None and people == 8:
            chained = self.plain
            for number, mask in enumerate(masks):
                chained = self.ip_adapter(chained, str(number), mask[None])
            steps["chained IP-Adapters"] = self._step(chained, size)
        if naive:
            steps["published algorithm"] = self._naive_step(boxed, size)
        return steps

    @staticmethod
    def _soft_mask(number: int, people: int, size: int) -> Tensor:
        x = torch.linspace(0, people, size).expand(size, -1) - number - 0.5
        return (1.25 - x.abs()).clamp(0, 1)

    def _patched(self, regions: tuple[Any, ...]) -> Any:
        model, _ = self.apply.apply_dynamicid(self.merged, self.weights, regions, self.apply.ApplyOptions())
        blocks = model.model_options["transformer_options"]["patches_replace"]["attn2"]
        self._patches.append(next(iter(blocks.values())).patch)
        return model

    def patched_step(self, regions: tuple[Any, ...], size: int, pictures: int) -> Step:
        """One UNet step of a batch of ``pictures`` with these people."""
        return self._step(self._patched(regions), size, pictures)

    def _step(self, model: Any, size: int, pictures: int = 1) -> Step:
        cells, rows = size // 8, 2 * pictures
        latent = rule_input("bench.latent", (rows, 4, cells, cells)).to(self.device, self.dtype)
        text = rule_input("bench.text", (rows, 77, 768)).to(self.device, self.dtype)
        sigma = torch.full((rows,), SIGMA, device=self.device)
        options = {"cond_or_uncond": [1, 0], "sigmas": sigma, "uuids": [1, 2]}

        def step() -> Any:
            transformer_options = {**model.model_options["transformer_options"], **options}
            with torch.inference_mode():
                return model.model.apply_model(latent, sigma, c_crossattn=text, transformer_options=transformer_options)

        return step

    def _naive_step(self, regions: tuple[Any, ...], size: int) -> Step:
        """The published algorithm on the unmerged model; its modules are put in for the call only."""
        cells = size // 8
        grids = [(cells // 2**level, cells // 2**level) for level in range(4)]
        model = apply_naive(self.plain, self.weights, regions, grids, NaiveSettings(layout_strength=2.0))
        plain_step = self._step(self.plain, size)
        replaced = [(path, *self._place_of(path), module) for path, module in model.object_patches.items()]
        for *_, module in replaced:
            module.to(self.device)

        def step() -> Any:
            for _, parent, name, _, module in replaced:
                setattr(parent, name, module)
            try:
                return plain_step()
            finally:
                for _, parent, name, original, _ in replaced:
                    setattr(parent, name, original)

        return step

    def _place_of(self, path: str) -> tuple[Any, str, Any]:
        parent_path, name = path.rsplit(".", 1)
        parent = self.plain.model.get_submodule(parent_path)
        return parent, name, getattr(parent, name)

    def held_mebibytes(self) -> dict[str, float]:
        """What the patches made so far keep on the device, at most: identity keys and values, and places."""
        sizes = {"identity": 0.0, "places": 0.0}
        for patch in self._patches:
            layers = [layer for rows in patch.keys_values._rows.values() for layer in rows]
            identity = sum(_mebibytes(vars(layer).values()) for layer in layers)
            places = sum(_mebibytes(masks) for masks in patch.masks._masks.values())
            sizes = {"identity": max(sizes["identity"], identity), "places": max(sizes["places"], places)}
        return sizes

    def forget(self) -> None:
        """Drops the patches of the case before."""
        self._patches.clear()

    def one_off_jobs(self) -> dict[str, Step]:
        """What happens once a face or once a graph: encode, edit, apply."""
        files = importlib.import_module("tests.standin.host_files")
        onnx_pack = importlib.import_module("tests.standin.onnx_pack")
        analysis = importlib.import_module("dynamicid.faces.analysis")
        faces = importlib.import_module("dynamicid.host.faces")
        editing = importlib.import_module("dynamicid.host.editing")
        with tempfile.TemporaryDirectory() as folder:
            files.write_clip_vision(Path(folder) / "vit_h.safetensors")
            vision = importlib.import_module("comfy.clip_vision").load(str(Path(folder) / "vit_h.safetensors"))
            onnx_pack.write_onnx_pack(Path(folder) / "pack")
            analyzer = analysis.load_face_analysis(Path(folder) / "pack", "CPU")
            files.write_checkpoint(Path(folder) / "small.safetensors", files.mini_unet_shapes())
            checkpoint = str(Path(folder) / "small.safetensors")
            clip = importlib.import_module("comfy.sd").load_checkpoint_guess_config(checkpoint)[1]
        photo = torch.from_numpy(onnx_pack.draw_test_faces((512, 512), [(150, 120, 350, 380)])).float()[None] / 255
        choice = faces.Choice("largest", 0)

        def encode() -> Any:
            with torch.inference_mode():
                return faces.encode_face(self.weights, analyzer, vision, photo, choice, True)[0]

        face = encode()
        two = self.regions([None, None])
        return {
            "encode one photo (stand-in detector, ViT-H, projector)": encode,
            "edit one face (two key-point maps, two prompts, IMR)": lambda: editing.edit_face(
                self.weights, face, clip, "in a happy expression, in side view"
            ),
            "apply two people": lambda: self.apply.apply_dynamicid(
                self.plain, self.weights, two, self.apply.ApplyOptions()
            ),
        }


def _mebibytes(values: Any) -> float:
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, Tensor)) / 2**20
