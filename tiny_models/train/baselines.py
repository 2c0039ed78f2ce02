"""Baselines for DynamicID: plain decoupled attention, trained on the same data with the same steps and base model.

The adapter is that of IP-Adapter (Ye et al. 2023, arXiv 2308.06721): every cross-attention adds
softmax(Q K_i' / sqrt d) V_i of the identity tokens. No gate, no LoRA. Two kinds of identity tokens:
``faceid``, an MLP on the identity vector, as IP-Adapter FaceID has it; ``queries``, as many learned queries that attend
to the identity vector and the CLIP states, as in a Q-Former (Li et al. 2023, arXiv 2301.12597).
Legend: B batch, T identity tokens, L image queries of a layer, C its width.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange, repeat
from torch import Tensor, nn

from dynamicid.models.face_projector import PerceiverResampler
from dynamicid.pipeline.saa_layers import attend, attention_layers, copied, projections
from dynamicid.pipeline.weight_export import State, submodule_state_dict, write_saa
from dynamicid.training.config import SAAConfig, load_config
from dynamicid.training.shards import ShardSet
from dynamicid.training.train_saa import HEAD_WIDTH, AnchoringModel, train_saa

from ..places import WORK

FOLDER = Path(__file__).resolve().parent
Kind = Literal["faceid", "queries"]
KINDS: tuple[Kind, ...] = ("faceid", "queries")
CONFIGS = ("saa", "saa_late", "saa_small")
"""Configurations of stage 1 in this folder. The other two start from the first; their weights are averaged."""


class IdentityMLP(nn.Module):
    """tokens = LayerNorm(MLP(id_embedding) as token_count x width): IP-Adapter FaceID's projection."""

    def __init__(self, id_width: int, token_count: int, width: int) -> None:
        super().__init__()
        self.id_width, self.width = id_width, width
        self.proj = nn.Sequential(
            nn.Linear(id_width, 2 * id_width), nn.GELU(), nn.Linear(2 * id_width, token_count * width)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, id_embedding: Tensor, clip_hidden: Tensor) -> Tensor:
        """id_embedding (B, id width) -> (B, T, width); the CLIP states are not used."""
        return self.norm(rearrange(self.proj(id_embedding), "b (t c) -> b t c", c=self.width))


class LearnedQueries(nn.Module):
    """Learned queries that attend to the identity vector and the CLIP states, ``depth`` times."""

    def __init__(self, id_width: int, token_count: int, width: int, media_width: int, depth: int) -> None:
        super().__init__()
        self.id_width = id_width
        self.queries = nn.Parameter(torch.randn(token_count, width) / width**0.5)
        self.id_proj = nn.Linear(id_width, media_width)
        self.resampler = PerceiverResampler(width, media_width, depth, HEAD_WIDTH)

    def forward(self, id_embedding: Tensor, clip_hidden: Tensor) -> Tensor:
        """id_embedding (B, id width), clip_hidden (B, S, media width) -> (B, T, width)."""
        media = torch.cat([self.id_proj(id_embedding)[:, None], clip_hidden], dim=1)
        return self.resampler(repeat(self.queries, "t c -> b t c", b=len(media)), media)


class DecoupledLayer(nn.Module):
    """What is trained of one cross-attention: ``to_k_ip`` and ``to_v_ip``; they start as its own to_k and to_v."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.to_k_ip, self.to_v_ip = (copied(projections(attention)[name]) for name in ("to_k", "to_v"))


class Chain(Protocol):
    """The people of a batch of pictures, one adapter each."""

    def adapters(self, cells: int) -> Sequence[tuple[Tensor, Tensor]]:
        """Of each adapter its identity tokens (B, T, width) and its mask (B, L, 1) at a layer of L ``cells``."""
        ...


class DecoupledProcessor:
    """diffusers' attention and, in cross-attention, the identity branch of each adapter of a chain, in its mask.

    Args:
        layer: None in self-attention.
    """

    def __init__(self, layer: DecoupledLayer | None) -> None:
        self.layer = layer

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        id_tokens: Tensor | None = None,
        people: Chain | None = None,
    ) -> Tensor:
        """hidden_states (B, L, C), text (B, S, text width) or None -> (B, L, C).

        ``id_tokens`` (B, T, width) belong to the whole picture, as in training.
        """
        base = projections(attn)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = base["to_q"](hidden_states)
        out = attend(query, base["to_k"](context), base["to_v"](context), attn.heads, attention_mask)
        if self.layer is not None:
            if id_tokens is not None:
                out = out + self._branch(query, id_tokens, attn.heads)
            for tokens, mask in people.adapters(query.shape[1]) if people is not None else ():
                out = out + mask * self._branch(query, tokens, attn.heads)
        return base["to_out"](out) / attn.rescale_output_factor

    def _branch(self, query: Tensor, tokens: Tensor, heads: int) -> Tensor:
        assert self.layer is not None
        return attend(query, self.layer.to_k_ip(tokens), self.layer.to_v_ip(tokens), heads)


def install_decoupled(unet: UNet2DConditionModel) -> nn.ModuleList:
    """Puts the processors into ``unet``; the layers of its cross-attentions, float32, in the order of SAA's files."""
    layers = nn.ModuleList()
    for _, attention, is_cross in attention_layers(unet):
        layer = DecoupledLayer(attention) if is_cross else None
        processor: Any = DecoupledProcessor(layer)
        attention.set_processor(processor)
        if layer is not None:
            layers.append(layer)
    return layers.to(torch.float32)


def make_projector(kind: Kind, width: int, id_width: int, media_width: int, config: SAAConfig) -> nn.Module:
    """The network that makes identity tokens ``width`` wide; as many and as deep as DynamicID's."""
    tokens = config.model.token_count
    if kind == "faceid":
        return IdentityMLP(id_width, tokens, width)
    return LearnedQueries(id_width, tokens, width, media_width, config.model.projector_depth)


def make_baseline(kind: Kind, unet: UNet2DConditionModel, config: SAAConfig, shards: ShardSet) -> AnchoringModel:
    """As ``train_saa.make_model`` makes DynamicID. ``model.start_from`` is a baseline's ``SAA.bin``."""
    sample = shards.read(0)
    id_width, media_width = sample["id_embedding"].shape[-1], sample["clip_hidden"].shape[-1]
    projector = make_projector(kind, int(unet.config["cross_attention_dim"]), id_width, media_width, config)
    model = AnchoringModel(unet, projector, install_decoupled(unet))
    if config.model.start_from is not None:
        model.load_state_dict(load_baseline(config.model.start_from))
    return model


def load_baseline(path: Path) -> dict[str, Tensor]:
    """The state dict of ``make_baseline``'s model from a file that its training wrote."""
    parts = torch.load(path, weights_only=True)
    names = {"projector.": "proj_module", "layers.": "SAA_module"}
    return {prefix + name: tensor for prefix, part in names.items() for name, tensor in parts[part].items()}


def train_baseline(kind: Kind, folder: Path = WORK / "baselines", steps: int | None = None) -> Path:
    """Stage 1 of the tiny models with the baseline's networks; goes on where it stopped.

    Args:
        kind: Which identity tokens.
        folder: Gets ``<kind>/<configuration>/`` and ``<kind>/weights/SAA.bin``.
        steps: Of each run instead of its configuration's.

    Returns:
        The weights.
    """
    weights = folder / kind / "weights"
    if not (weights / "SAA.bin").is_file():
        first, late, small = (folder / kind / name for name in CONFIGS)
        for run, start in ((first, None), (late, first), (small, first)):
            _run(kind, run, start, steps)
        a, b = (load_baseline(run / "weights" / "SAA.bin") for run in (late, small))
        mean: State = {name: (tensor + b[name]) / 2 for name, tensor in a.items()}
        write_saa(weights, submodule_state_dict(mean, "projector."), submodule_state_dict(mean, "layers."))
    return weights / "SAA.bin"


def _run(kind: Kind, output: Path, start: Path | None, steps: int | None) -> None:
    """One run with the configuration of its folder's name, from the weights of ``start``."""
    from .steps import prepare_stage_one

    config = load_config(FOLDER / f"{output.name}.toml", SAAConfig)
    prepare_stage_one(output.name, config)
    start_from = None if start is None else start / "weights" / "SAA.bin"
    run = config.run.model_copy(update={"output": output, **({} if steps is None else {"steps": steps})})
    model = config.model.model_copy(update={"start_from": start_from})
    config = config.model_copy(update={"run": run, "model": model})
    train_saa(config, any(output.glob("checkpoints/step-*")), partial(make_baseline, kind))
