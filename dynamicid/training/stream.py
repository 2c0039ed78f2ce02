"""The order of training: which sample stands at which position of the stream, with which random numbers.

Both depend on the seed only, not on the number of processes, the reading processes, gradient accumulation or
interruptions.
"""

import logging
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..files.skipped import BadSample
from .shards import Sample, ShardSet

logger = logging.getLogger(__name__)
MOST_DAMAGED_IN_A_ROW = 100


def epoch_order(shards: ShardSet, epoch: int, seed: int, shuffle_shards: int) -> np.ndarray:
    """Sample indices (samples,) int64: shards shuffled, then samples within groups of ``shuffle_shards`` shards."""
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(shards.paths))
    groups = []
    for first in range(0, len(order), shuffle_shards):
        group = order[first : first + shuffle_shards]
        groups.append(
            random.permutation(np.concatenate([np.arange(shards.starts[i], shards.starts[i + 1]) for i in group]))
        )
    return np.concatenate(groups)


class StreamBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (position in the stream, sample index) for a range of positions, epoch after epoch.

    Accelerate distributes the batches among the processes in turn.
    """

    drop_last = True

    def __init__(self, shards: ShardSet, positions: range, batch_size: int, seed: int, shuffle_shards: int) -> None:
        self.shards, self.positions, self.batch_size = shards, positions, batch_size
        self.seed, self.shuffle_shards = seed, shuffle_shards

    def __len__(self) -> int:
        return len(self.positions) // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        ordered, order = -1, np.zeros(0)
        batch: list[tuple[int, int]] = []
        for position in self.positions:
            epoch, offset = divmod(position, len(self.shards))
            if epoch != ordered:
                ordered, order = epoch, epoch_order(self.shards, epoch, self.seed, self.shuffle_shards)
            batch.append((position, int(order[offset])))
            if len(batch) == self.batch_size:
                yield batch
                batch = []


class StreamDataset(Dataset[Sample]):
    """Reads samples and turns them into inputs of the loss.

    Args:
        shards: The cache.
        prepare: (sample, random numbers of the position) -> tensors, of the same shapes for every sample.
        seed: Seed of the run.
    """

    def __init__(
        self, shards: ShardSet, prepare: Callable[[Sample, torch.Generator], dict[str, Tensor]], seed: int
    ) -> None:
        self.shards, self.prepare, self.seed = shards, prepare, seed

    def __getitem__(self, item: tuple[int, int]) -> dict[str, Tensor]:
        """The prepared sample of (position, index); an unreadable one is replaced by the next.

        ``damaged`` holds the index of the replaced sample, otherwise -1.
        """
        position, index = item
        damaged = -1
        for _ in range(MOST_DAMAGED_IN_A_ROW):
            try:
                sample = self.shards.read(index)
                break
            except BadSample as error:
                logger.warning("sample %d skipped: %s", index, error)
                damaged, index = index, (index + 1) % len(self.shards)
        else:
            raise BadSample(f"{MOST_DAMAGED_IN_A_ROW} samples in a row cannot be read")
        generator = position_generator(self.seed, position)
        return {**self.prepare(sample, generator), "damaged": torch.tensor(damaged)}


def position_generator(seed: int, position: int) -> torch.Generator:
    """Random numbers of one position of the stream."""
    state = np.random.SeedSequence((seed, position)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
