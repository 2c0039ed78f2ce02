"""What is trained on and what is held out, by number and by combination. The ranges are part of the data's definition.

| | train | held out |
|---|---|---|
| people | 0 .. 9 999 | 10 000 .. 11 999 |
| scenes | 0 .. 999 999 | 1 000 000 .. 1 099 999 |
| portraits | 0 .. 999 999 | 1 000 000 .. 1 099 999 |
| expression x pose | the others | (2 expression + pose) mod 5 = 0 |
| shirt x place | the others | (shirt + 2 place) mod 5 = 0 |

In the last two rows a name stands for its position in the list of names. Every expression, pose, shirt colour and place
is trained on; only some combinations are not. A held-out scene shows held-out people with held-out motions, and each of
them wears a shirt that is held out at that place.
"""

from enum import Enum

from ..errors import DynamicIDError

TRAIN_PEOPLE = range(0, 10_000)
HELD_OUT_PEOPLE = range(10_000, 12_000)
TRAIN_PICTURES = range(0, 1_000_000)
HELD_OUT_PICTURES = range(1_000_000, 1_100_000)
HELD_OUT_SHARE = 5


class Split(Enum):
    """Which part of the data."""

    train = "train"
    held_out = "held_out"


def people_of(split: Split) -> range:
    """The numbers of the people in a split."""
    return TRAIN_PEOPLE if split is Split.train else HELD_OUT_PEOPLE


def pictures_of(split: Split) -> range:
    """The numbers of the scenes, and of the portraits, in a split."""
    return TRAIN_PICTURES if split is Split.train else HELD_OUT_PICTURES


def number_in(split: Split, position: int, people: bool = False) -> int:
    """The number of the person (or picture) at a position in a split.

    Raises:
        DynamicIDError: The split has fewer.
    """
    numbers = people_of(split) if people else pictures_of(split)
    if not 0 <= position < len(numbers):
        kind = "people" if people else "pictures"
        raise DynamicIDError(
            "--count",
            f"The split '{split.value}' has {len(numbers)} {kind}; number {position} was asked for.",
            "Ask for fewer, or use another seed for more.",
        )
    return numbers[position]


def allowed_motions(split: Split, expressions: tuple[str, ...], poses: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The combinations of expression and pose in a split."""
    return tuple(
        (expression, pose)
        for row, expression in enumerate(expressions)
        for column, pose in enumerate(poses)
        if ((2 * row + column) % HELD_OUT_SHARE == 0) == (split is Split.held_out)
    )


def allowed_shirts(split: Split, shirts: tuple[str, ...], place_position: int) -> tuple[str, ...]:
    """The shirt colours that a split shows at the place with this position in the list of places."""
    return tuple(
        shirt
        for position, shirt in enumerate(shirts)
        if ((position + 2 * place_position) % HELD_OUT_SHARE == 0) == (split is Split.held_out)
    )
