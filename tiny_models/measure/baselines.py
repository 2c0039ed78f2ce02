"""Paints the benchmark with the baselines of ``train/baselines.py``: chained adapters, each in its person's mask."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from dynamicid.attention.people import people_of
from dynamicid.checkpoints.weights import DynamicIDWeights
from dynamicid.faces.regions import Region
from dynamicid.pipeline.painter import Painter, PaintSettings, PictureRequest
from dynamicid.pipeline.people_batch import Grid, grids_of
from dynamicid.pipeline.pipeline import DynamicIDPipeline
from dynamicid.pipeline.stable_diffusion import StableDiffusion
from dynamicid.pipeline.weight_export import State, submodule_state_dict

from ..train.baselines import install_decoupled


class ChainedPeople:
    """The people of B pictures as a chain of adapters: the first person of each picture, then the second, ...

    Args:
        pictures: The people of each picture; none, one or several.
        grids: From ``people_batch.grids_of``.
        place: Gives device and dtype.
    """

    def __init__(self, pictures: Sequence[Sequence[Region]], grids: dict[int, Grid], place: Tensor) -> None:
        self._pictures, self._grids, self._place = pictures, grids, place
        self._masks: dict[int, list[Tensor]] = {}
        self._tokens = [self._tokens_of(number) for number in range(max(map(len, pictures)))]

    def adapters(self, cells: int) -> list[tuple[Tensor, Tensor]]:
        """Of each adapter its tokens (2 B, T, width), positive rows first, and its masks (2 B, cells, 1)."""
        if cells not in self._masks:
            self._masks[cells] = self._masks_of(self._grids[cells])
        return list(zip(self._tokens, self._masks[cells], strict=True))

    def _tokens_of(self, number: int) -> Tensor:
        """Zeros for pictures of fewer people, whose masks are 0."""
        faces = [people[number].face if number < len(people) else None for people in self._pictures]
        like = next(face for face in faces if face is not None).id_tokens
        blank = torch.zeros_like(like)
        rows = [blank if face is None else face.id_tokens for face in faces]
        rows += [blank if face is None else face.negative_tokens for face in faces]
        return torch.stack(rows).to(self._place)

    def _masks_of(self, grid: Grid) -> list[Tensor]:
        """A mask is 1 in the person's box at ``grid``."""
        masks = torch.zeros(len(self._tokens), len(self._pictures), *grid)
        for picture, people in enumerate(self._pictures):
            if people:
                masks[: len(people), picture] = people_of(people).maps(grid)
        doubled = torch.cat([masks, masks], dim=1).to(self._place)
        return list(rearrange(doubled, "n b h w -> n b (h w) 1"))


class BaselinePainter(Painter):
    """A base model with the layers of a baseline.

    Args:
        base: Left as it is.
        layers: State dict of ``install_decoupled``'s layers.
        dtype: The UNet's.
    """

    def __init__(self, base: StableDiffusion, layers: State, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(base, None, dtype)
        installed = install_decoupled(self.unet)
        installed.load_state_dict(dict(layers))
        installed.to(self.unet.device, dtype).requires_grad_(False)
        adapters: list[Any] = list(installed)
        self.projections = [(layer.to_k_ip.weight, layer.to_v_ip.weight) for layer in adapters]

    def _people(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, requests: Sequence[PictureRequest], settings: PaintSettings
    ) -> ChainedPeople | None:
        if not any(request.people for request in requests):
            return None
        grids = grids_of(settings.size, len(self.unet.config["block_out_channels"]))
        return ChainedPeople([request.people for request in requests], grids, self.projections[0][0])


def baseline_pipeline(whole: DynamicIDPipeline, projector: nn.Module, trained: State) -> DynamicIDPipeline:
    """``whole`` with a baseline in the place of DynamicID.

    Args:
        whole: Gives base model, image encoder and face networks.
        projector: ``train.baselines.make_projector``'s.
        trained: From ``train.baselines.load_baseline``.
    """
    projector.load_state_dict(submodule_state_dict(trained, "projector."))
    networks = DynamicIDWeights(projector.eval(), (), None, None, "baseline")  # pyright: ignore[reportArgumentType]
    pipeline = DynamicIDPipeline(
        whole.base, whole.image_encoder, networks, whole.face_detector, whole.emotion_reader, whole.dtype
    )
    pipeline.painter = BaselinePainter(whole.base, submodule_state_dict(trained, "layers."), whole.dtype)
    return pipeline
