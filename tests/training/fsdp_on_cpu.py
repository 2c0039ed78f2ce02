"""``python -m dynamicid`` with weights sharded by FSDP on the CPU.

torch shards there, too (gloo); accelerate offers it on GPUs only, so it is told that these processes had some.
"""

from typing import Any

from accelerate.state import DistributedType, PartialState

from dynamicid.cli.app import app

_init = PartialState.__init__


def _init_as_on_gpus(self: PartialState, *arguments: Any, **options: Any) -> None:
    _init(self, *arguments, **options)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


if __name__ == "__main__":
    PartialState.__init__ = _init_as_on_gpus
    app()
