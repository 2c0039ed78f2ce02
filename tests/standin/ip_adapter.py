"""cubiq's IPAdapter_plus, where it is installed: its own patch code with weights by rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from .foreign_packs import find_foreign_pack, load_foreign_pack
from .host_files import Shapes
from .rule import rule_input, rule_tensor
from .weight_files import transformer_prefixes

_NAME = "cubiq_ipadapter_plus"
_KINDS = {"input_blocks": "input", "output_blocks": "output", "middle_block": "middle"}


def _blocks(unet: Shapes) -> list[tuple[tuple[str, int], int]]:
    """(block key, width) of every cross-attention block, in the order of IP-Adapter's weights."""
    found = []
    for prefix in transformer_prefixes(unet):
        group, *rest = prefix.split(".")
        number = int(rest[0]) if group != "middle_block" else 0
        found.append(((_KINDS[group], number), unet[f"{prefix}attn2.to_k.weight"][0]))
    return found


def load_ip_adapter(folder: Path, unet: Shapes, tokens: int = 16) -> Callable[..., Any]:
    """``patch(model, name, mask=None)`` -> a clone patched by cubiq's code; ``name`` seeds the picture's embedding.

    Args:
        folder: Where IPAdapter_plus lies.
        unet: Keys and shapes of the UNet, in the original (LDM) naming without prefix.
        tokens: Image tokens an adapter has (16 for the plus models, 4 for FaceID).
    """
    plus = load_foreign_pack(_NAME, folder, "IPAdapterPlus")
    blocks = _blocks(unet)
    state = {
        f"{2 * number + 1}.{leaf}.weight": rule_tensor(f"ipadapter.{2 * number + 1}.{leaf}.weight", (width, 768))
        for number, (_, width) in enumerate(blocks)
        for leaf in ("to_k_ip", "to_v_ip")
    }

    def patch(model: Any, name: str, mask: torch.Tensor | None = None) -> Any:
        model = model.clone()
        device, dtype = model.load_device, model.model_dtype()
        adapter = SimpleNamespace(ip_layers=plus.To_KV(state).to(device, dtype))
        adapter.get_multigpu_clone = lambda device: adapter
        settings = {
            "ipadapter": adapter,
            "weight": 0.8,
            "cond": rule_input(f"ipadapter.{name}.cond", (1, tokens, 768)).to(device, dtype),
            "cond_alt": None,
            "uncond": rule_input("ipadapter.uncond", (1, tokens, 768)).to(device, dtype),
            "weight_type": "linear",
            "mask": None if mask is None else mask.to(device, dtype),
            "sigma_start": 999999999.9,
            "sigma_end": 0.0,
            "unfold_batch": False,
            "embeds_scaling": "V only",
        }
        for number, (key, _) in enumerate(blocks):
            plus.set_model_patch_replace(model, {**settings, "module_key": str(2 * number + 1)}, key)
        return model

    return patch


def find_ip_adapter(host: Path | None) -> Path | None:
    """cubiq's pack beside the host or in its custom_nodes; None where it is not installed."""
    return find_foreign_pack(host, "ComfyUI_IPAdapter_plus", "CrossAttentionPatch.py")
