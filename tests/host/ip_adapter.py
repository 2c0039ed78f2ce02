"""cubiq's IPAdapter_plus on the small UNet: its own patch code with weights by rule."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from scripts.standin.host_files import mini_unet_shapes
from scripts.standin.rule import rule_input, rule_tensor
from scripts.standin.weight_files import transformer_prefixes

_NAME = "cubiq_ipadapter_plus"
_KINDS = {"input_blocks": "input", "output_blocks": "output", "middle_block": "middle"}


def _load_pack(folder: Path) -> Any:
    if _NAME not in sys.modules:
        init = folder / "__init__.py"
        spec = importlib.util.spec_from_file_location(_NAME, init, submodule_search_locations=[str(folder)])
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = module
    return importlib.import_module(f"{_NAME}.IPAdapterPlus")


def _blocks() -> list[tuple[tuple[str, int], int]]:
    """(block key, width) of every cross-attention block of the small UNet, in the order of IP-Adapter's weights."""
    shapes = mini_unet_shapes()
    found = []
    for prefix in transformer_prefixes(shapes):
        group, *rest = prefix.split(".")
        number = int(rest[0]) if group != "middle_block" else 0
        found.append(((_KINDS[group], number), shapes[f"{prefix}attn2.to_k.weight"][0]))
    return found


def load_ip_adapter(folder: Path) -> Callable[..., Any]:
    """``patch(model, name, mask=None)`` -> a clone patched by cubiq's code; ``name`` seeds the picture's embedding."""
    plus = _load_pack(folder)

    def patch(model: Any, name: str, mask: torch.Tensor | None = None) -> Any:
        model = model.clone()
        state = {}
        for number, (_, width) in enumerate(_blocks()):
            for leaf in ("to_k_ip", "to_v_ip"):
                key = f"{2 * number + 1}.{leaf}.weight"
                state[key] = rule_tensor(f"ipadapter.{key}", (width, 768))
        adapter = SimpleNamespace(ip_layers=plus.To_KV(state))
        adapter.get_multigpu_clone = lambda device: adapter
        settings = {
            "ipadapter": adapter,
            "weight": 0.8,
            "cond": rule_input(f"ipadapter.{name}.cond", (1, 16, 768)),
            "cond_alt": None,
            "uncond": rule_input("ipadapter.uncond", (1, 16, 768)),
            "weight_type": "linear",
            "mask": mask,
            "sigma_start": 999999999.9,
            "sigma_end": 0.0,
            "unfold_batch": False,
            "embeds_scaling": "V only",
        }
        for number, (key, _) in enumerate(_blocks()):
            plus.set_model_patch_replace(model, {**settings, "module_key": str(2 * number + 1)}, key)
        return model

    return patch
