"""Small weight files in the published layout, filled by the golden rule."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dynamicid.models import IMR, FaceProjector, KeypointEncoder
from tests.standin.rule import rule_state

RANK = 4
TOKEN_WIDTH = 128
TEXT_WIDTH = 192
LAYER_WIDTHS = (64, 64, 128, 128)

State = dict[str, Any]


def small_projector() -> FaceProjector:
    """A face projector with the published structure and small widths."""
    return FaceProjector(id_width=32, hidden_width=64, token_count=4, width=TOKEN_WIDTH, media_width=96, depth=2)


def small_imr(depth: int = 1) -> IMR:
    """An IMR that fits ``small_projector`` and ``small_keypoint_encoder``."""
    return IMR(token_width=TOKEN_WIDTH, motion_width=160, width=128, latent_count=4, depth=depth)


def small_keypoint_encoder() -> KeypointEncoder:
    """A key-point encoder with five narrow stages."""
    return KeypointEncoder(stem_width=4, stages=((4, 1), (8, 0), (8, 2), (8, 1), (16, 1)), out_width=64)


def rule_network(prefix: str, network: nn.Module) -> State:
    """State dict by rule."""
    return rule_state(prefix, {key: value.shape for key, value in network.state_dict().items()})


def saa_state(
    widths: tuple[int, ...] = LAYER_WIDTHS,
    text_width: int = TEXT_WIDTH,
    token_width: int = TOKEN_WIDTH,
    rank: int = RANK,
) -> State:
    """``SAA_module`` for attention layers of ``widths``."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, width in enumerate(widths):
        for target in ("to_q", "to_k", "to_v", "to_out"):
            context = text_width if index % 2 and target in ("to_k", "to_v") else width
            shapes[f"{index}.{target}_lora.down.weight"] = (rank, context)
            shapes[f"{index}.{target}_lora.up.weight"] = (width, rank)
        if index % 2:
            shapes[f"{index}.to_k_ip.weight"] = shapes[f"{index}.to_v_ip.weight"] = (width, token_width)
    return rule_state("saa", shapes)


def published_saa() -> State:
    """The contents of a small ``SAA.bin``."""
    return {"proj_module": rule_network("projector", small_projector()), "SAA_module": saa_state()}


def write_small_files(folder: Path) -> Path:
    """Small ``SAA.bin``, ``IMR.bin`` and ``key_point_encoder.bin``; returns the folder."""
    torch.save(published_saa(), folder / "SAA.bin")
    torch.save(rule_network("imr", small_imr()), folder / "IMR.bin")
    torch.save(rule_network("keypoints", small_keypoint_encoder()), folder / "key_point_encoder.bin")
    return folder
