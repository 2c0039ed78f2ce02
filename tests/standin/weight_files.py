"""DynamicID weight files in the published layout, filled by the golden rule, for any UNet given by its key shapes."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from dynamicid.models import IMR, FaceProjector, KeypointEncoder

from .rule import rule_state

Shapes = Mapping[str, Iterable[int]]
RANK = 128
_GROUP_ORDER = {"input_blocks": 0, "output_blocks": 1, "middle_block": 2}
_ATTENTION = re.compile(
    r"^((?:input_blocks|output_blocks)\.(\d+)|middle_block)\.(.*transformer_blocks\.(\d+)\.)attn1\.to_q"
)


def transformer_prefixes(unet: Shapes) -> list[str]:
    """Key prefixes of the transformer blocks, in the order of the published weights: input, output, middle."""
    found = []
    for key in unet:
        match = _ATTENTION.match(key)
        if match:
            group, number, inside, depth = match.groups()
            kind = group.split(".")[0]
            found.append(((_GROUP_ORDER[kind], int(number or 0), int(depth)), f"{group}.{inside}"))
    return [prefix for _, prefix in sorted(found)]


def saa_shapes(unet: Shapes, rank: int = RANK) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of ``SAA_module`` ("<i>.<name>") for a UNet in the original (LDM) naming."""
    shapes: dict[str, tuple[int, ...]] = {}
    prefixes = transformer_prefixes(unet)
    for block, prefix in enumerate(prefixes):
        for offset, attention in enumerate(("attn1", "attn2")):
            index = 2 * block + offset
            for name, leaf in (("to_q", "to_q"), ("to_k", "to_k"), ("to_v", "to_v"), ("to_out", "to_out.0")):
                out_width, in_width = unet[f"{prefix}{attention}.{leaf}.weight"]
                shapes[f"{index}.{name}_lora.down.weight"] = (rank, in_width)
                shapes[f"{index}.{name}_lora.up.weight"] = (out_width, rank)
            if attention == "attn2":
                shapes[f"{index}.to_k_ip.weight"] = tuple(unet[f"{prefix}attn2.to_k.weight"])
                shapes[f"{index}.to_v_ip.weight"] = tuple(unet[f"{prefix}attn2.to_v.weight"])
    return shapes


def network_state(prefix: str, network: torch.nn.Module) -> dict[str, Tensor]:
    """The state dict of one network by rule; ``prefix`` is its name in the golden rule."""
    return rule_state(prefix, {key: value.shape for key, value in network.state_dict().items()})


def write_published_files(folder: Path, unet: Shapes, dtype: torch.dtype = torch.float32) -> None:
    """Writes ``SAA.bin``, ``IMR.bin`` and ``key_point_encoder.bin`` into ``folder``.

    Args:
        folder: Where the files go; made if missing.
        unet: Keys and shapes of the UNet, in the original (LDM) naming without prefix.
        dtype: Of the float tensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "SAA.bin": {
            "proj_module": _cast(network_state("projector", FaceProjector()), dtype),
            "SAA_module": _cast(rule_state("saa", saa_shapes(unet)), dtype),
        },
        "IMR.bin": _cast(network_state("imr", IMR()), dtype),
        "key_point_encoder.bin": _cast(network_state("keypoints", KeypointEncoder()), dtype),
    }
    for name, content in files.items():
        torch.save(content, folder / name)


def _cast(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
