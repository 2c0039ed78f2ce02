"""Trained weights in and out: the published files and the pack's combined safetensors file."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoints import DynamicIDWeights
from ..checkpoints.combined import save_combined
from ..checkpoints.keys import IMR, KEYPOINTS, NETWORK_PREFIXES, PROJECTOR, SAA
from ..files.atomic import atomic_write

State = Mapping[str, Tensor]


def write_saa(folder: Path, projector: State, layers: State) -> list[Path]:
    """``SAA.bin`` in the published layout and ``SAA.safetensors`` in the pack's.

    Args:
        folder: Where to; made if missing, earlier files of these names are replaced.
        projector: State dict of the face projector.
        layers: State dict of the SAA layers by index, ``<i>.<name>``.
    """
    projector, layers = _own(projector), _own(layers)
    paths = [_write_pickle(folder / "SAA.bin", {"proj_module": projector, "SAA_module": layers})]
    tensors = {**_prefixed(PROJECTOR, projector), **_prefixed(SAA, layers)}
    paths.append(save_combined(folder / "SAA.safetensors", tensors, overwrite=True))
    return paths


def write_imr(folder: Path, imr: State, keypoints: State, projector: State, layers: State) -> list[Path]:
    """``IMR.bin``, ``key_point_encoder.bin``, and all four networks in ``DynamicID.safetensors``."""
    imr, keypoints, projector, layers = (_own(state) for state in (imr, keypoints, projector, layers))
    paths = [_write_pickle(folder / "IMR.bin", imr), _write_pickle(folder / "key_point_encoder.bin", keypoints)]
    states = {PROJECTOR: projector, SAA: layers, IMR: imr, KEYPOINTS: keypoints}
    tensors = {name: tensor for network, state in states.items() for name, tensor in _prefixed(network, state).items()}
    paths.append(save_combined(folder / "DynamicID.safetensors", tensors, overwrite=True))
    return paths


def saa_state_dict(weights: DynamicIDWeights) -> dict[str, Tensor]:
    """The SAA layers of loaded weights as the state dict that ``saa_layers.install_saa``'s layers take."""
    state = {}
    for index, layer in enumerate(weights.saa_layers):
        for target, pair in layer.lora.items():
            state[f"{index}.{target}_lora.down.weight"] = pair.down
            state[f"{index}.{target}_lora.up.weight"] = pair.up
        if layer.to_k_ip is not None and layer.to_v_ip is not None:
            state[f"{index}.to_k_ip.weight"] = layer.to_k_ip
            state[f"{index}.to_v_ip.weight"] = layer.to_v_ip
    return state


def submodule_state_dict(state: State, prefix: str) -> dict[str, Tensor]:
    """The tensors of one network inside a trained module's state dict, under their own names."""
    return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}


def cpu_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """A plain copy of a network's state dict on the CPU."""
    return _own(network.state_dict())


def _own(state: State) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}


def _prefixed(network: str, state: State) -> dict[str, Tensor]:
    return {NETWORK_PREFIXES[network][0] + name: tensor for name, tensor in state.items()}


def _write_pickle(path: Path, content: object) -> Path:
    with atomic_write(path) as partial:
        torch.save(content, partial)
    return path
