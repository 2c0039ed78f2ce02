"""Row numbers survive whatever other packs do to the rows of a tensor, or are given up; they are never wrong."""

import random
from collections.abc import Callable

import pytest
import torch
from einops import rearrange, repeat
from torch import Tensor

ROWS, LENGTH, WIDTH = 4, 6, 3


@pytest.fixture(scope="module")
def tracking(pack):
    return pack.load("dynamicid.host.row_tracking")


def numbered(rows: int = ROWS) -> Tensor:
    """(rows, L, C): every value of a row is the row's number."""
    return torch.arange(rows).view(-1, 1, 1).expand(-1, LENGTH, WIDTH).float().clone()


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "repeat": lambda x: x.repeat(3, 1, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=0),
    "cat of chunks": lambda x: torch.cat(list(reversed(x.chunk(2)))),
    "cat of rows": lambda x: torch.cat([x[1:], x[:1]]),
    "split": lambda x: torch.cat([part.repeat(2, 1, 1) for part in x.split(1)]),
    "index list": lambda x: x[[2 % len(x), 0, 0]],
    "index tensor": lambda x: x[torch.tensor([1 % len(x), 0])],
    "index mask": lambda x: x[torch.arange(len(x)) != 1],
    "index_select": lambda x: x.index_select(0, torch.tensor([0, len(x) - 1])),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1, 0),
    "stack and flatten": lambda x: torch.stack([x, x.flip(0)], dim=1).flatten(0, 1),
    "reshape": lambda x: torch.stack([x, x.flip(0)]).reshape(-1, LENGTH, WIDTH),
    "view of a tuple": lambda x: torch.stack([x, x]).view((2 * len(x), -1, WIDTH)),
    "expand": lambda x: x[:1].expand(3, -1, -1),
    "rearrange": lambda x: rearrange(torch.stack([x, x.roll(1, 0)]), "r b l c -> (b r) l c"),
    "einops repeat": lambda x: repeat(x, "b l c -> (b two) l c", two=2),
    "unsqueeze": lambda x: x.unsqueeze(0).repeat(2, 1, 1, 1).transpose(0, 1).reshape(-1, *x.shape[1:]),
    "arithmetic": lambda x: (x * 2 + 0).to(torch.float64) / 2,
    "assignment": lambda x: _assigned(x.clone()),
    "layer norm aside": lambda x: x + 0 * torch.nn.functional.layer_norm(x, x.shape[-1:]),
}


def _assigned(x: Tensor) -> Tensor:
    x[0] = x[-1].clone()
    return x


@pytest.mark.parametrize("name", OPERATIONS)
def test_rows_are_followed(name, tracking):
    moved = OPERATIONS[name](tracking.TrackedRows.start(numbered()))
    assert tracking.rows_of(moved) == moved[:, 0, 0].round().int().tolist()
    assert type(tracking.plain(moved)) is Tensor


def test_random_chains_of_operations(tracking):
    """A number that is known is right, over chains that other packs may be made of."""
    choose = random.Random(3)
    for _ in range(300):
        tensor = tracking.TrackedRows.start(numbered())
        chain = [choose.choice(list(OPERATIONS)) for _ in range(choose.randint(1, 5))]
        for name in chain:
            if len(tensor) > 64:
                break
            tensor = OPERATIONS[name](tensor)
        assert tracking.rows_of(tensor) == tensor[:, 0, 0].round().int().tolist(), chain


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: torch.cat([x, numbered(1)]),
        lambda x: x.sort(dim=0, descending=True).values,
        lambda x: x.gather(0, torch.ones(ROWS, LENGTH, WIDTH, dtype=torch.long)),
        lambda x: torch.einsum("blc,bk->klc", x, torch.eye(ROWS)),
        lambda x: x + x.flip(0),
        lambda x: x.permute(1, 0, 2),
        lambda x: torch.empty_like(tracking_plain(x)).copy_(x),
    ],
    ids=["foreign row", "sort", "gather", "einsum", "sum of two rows", "length in front", "copy_"],
)
def test_rows_that_cannot_be_followed_are_unknown(operation, tracking):
    assert tracking.rows_of(operation(tracking.TrackedRows.start(numbered()))) is None


def tracking_plain(x: Tensor) -> Tensor:
    return x.as_subclass(Tensor)
