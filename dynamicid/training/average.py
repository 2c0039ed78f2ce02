"""The moving average of trained weights that a checkpoint holds whole, however many processes share the weights."""

from typing import Any

from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


class MovingAverage(EMAModel):
    """diffusers' moving average. Under FSDP every process holds pieces of each weight and of its average: all of them
    have to call ``state_dict`` and ``load_state_dict``."""

    def state_dict(self) -> dict[str, Any]:
        """The averages whole, on the CPU."""
        return {**super().state_dict(), "shadow_params": [_whole(average) for average in self.shadow_params]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint, on the devices and in the pieces that the averages lie in now."""
        former = self.shadow_params
        super().load_state_dict(state_dict)
        pairs = zip(self.shadow_params, former, strict=True)
        self.shadow_params = [_placed(average, where) for average, where in pairs]


def _whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()


def _placed(tensor: Tensor, where: Tensor) -> Tensor:
    tensor = tensor.to(where.device)
    return distribute_tensor(tensor, where.device_mesh, where.placements) if isinstance(where, DTensor) else tensor
