"""Motions, and faces with a motion, for many pictures at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from ..errors import DynamicIDError

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class Frames:
    """A motion or a face that may hold one for each of F pictures; its own fields are those of the first.

    Args:
        later: The other F - 1, which hold no others themselves.
    """

    later: tuple[Self, ...] = ()

    @property
    def frames(self) -> tuple[Self, ...]:
        """All F."""
        return (replace(self, later=()), *self.later) if self.later else (self,)

    @property
    def frame_count(self) -> int:
        """F."""
        return 1 + len(self.later)

    def frame(self, number: int) -> Self:
        """The one for picture ``number``, counted from 0; the only one where F is 1."""
        return self.frames[number] if self.later else self


Framed = TypeVar("Framed", bound=Frames)


def join_frames(frames: Sequence[Framed]) -> Framed:
    """F motions or faces of one picture each as one."""
    return replace(frames[0], later=tuple(frames[1:]))


def common_frame_count(counts: Mapping[str, int]) -> int:
    """F of inputs that belong together: each holds 1 or F.

    Args:
        counts: Name of the input or person -> its frames.

    Raises:
        DynamicIDError: Two of them hold different numbers above 1.
    """
    several = {name: count for name, count in counts.items() if count > 1}
    if len(set(several.values())) > 1:
        (first, count), (second, other) = next((a, b) for a in several.items() for b in several.items() if a[1] != b[1])
        raise DynamicIDError(
            second,
            f"It holds {other} motions, but {first} holds {count}.",
            "Give both the same number of motions, or one of them a single motion.",
        )
    return max(several.values(), default=1)
