"""Which person's tokens and which part of the picture each row of a model call needs.

The host evaluates several conditionings and pictures in one call, and other packs repeat, split, reorder or tile these
rows before they reach the model. Every conditioning therefore carries row numbers of its own (:data:`ROW_NUMBERS`)
through the host's batching, and tiles are found again in the latent they were cut from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..attention.assignment import WHOLE, Window
from ..errors import DynamicIDError

POSITIVE, NEGATIVE = 0, 1
ROW_NUMBERS = "dynamicid_rows"
"""Name of the conditioning (n, 2) that numbers each row: conditioning entry, picture."""


class Row(NamedTuple):
    """One row of a model call.

    role: POSITIVE or NEGATIVE. picture: its number in the batch. window: the part of the whole picture that it shows.
    """

    role: int
    picture: int
    window: Window


@dataclass(frozen=True)
class RowGroups:
    """The rows of a call as chunks of equal length, each with one role, one window and one set of tokens.

    Attributes:
        chunk_roles: POSITIVE or NEGATIVE, by chunk.
        windows: By chunk.
        pictures: Numbers of the pictures, by chunk.
        frames: F, the sets of positive tokens; with more than one, picture i has set i.
    """

    chunk_roles: tuple[int, ...]
    windows: tuple[Window, ...]
    pictures: tuple[tuple[int, ...], ...]
    frames: int = 1

    @property
    def token_rows(self) -> tuple[int, ...]:
        """The set of tokens of each chunk: 0 to F - 1 positive, F negative."""
        return tuple(
            self.frames if role == NEGATIVE else pictures[0] if self.frames > 1 else 0
            for role, pictures in zip(self.chunk_roles, self.pictures, strict=True)
        )

    @property
    def chunk_size(self) -> int:
        """Rows per chunk."""
        return len(self.pictures[0])


def group_rows(rows: Sequence[Row], frames: int = 1) -> RowGroups:
    """Chunks of consecutive rows with one role, window and set of tokens; one per row where the runs differ in length.

    Args:
        rows: The rows of the call.
        frames: F, the sets of positive tokens.
    """
    runs: list[list[Row]] = []
    last = None
    for row in rows:
        # Negative tokens are the same for all pictures.
        kind = (row.role, row.window, row.picture if frames > 1 and row.role == POSITIVE else 0)
        if kind == last:
            runs[-1].append(row)
        else:
            runs.append([row])
        last = kind
    if len({len(run) for run in runs}) > 1:
        runs = [[row] for row in rows]
    return RowGroups(
        tuple(run[0].role for run in runs),
        tuple(run[0].window for run in runs),
        tuple(tuple(row.picture for row in run) for run in runs),
        frames,
    )


class Entry(NamedTuple):
    """One conditioning of a step: its role, its key in the host's batches, its area (y, x, height, width) in cells."""

    role: int
    key: tuple[int, Any]
    area: tuple[int, int, int, int]


class Origin(NamedTuple):
    """Where a row of an evaluation comes from: picture of the batch, and its top left cell there."""

    picture: int
    y: int
    x: int


@dataclass(frozen=True)
class Evaluation:
    """What is known of one evaluation of all conditionings, before the host splits it into model calls.

    Attributes:
        entries: All conditionings; the first column of :data:`ROW_NUMBERS` counts them.
        latent: (n, C, height, width), what is evaluated.
        whole_size: Height and width of the whole latent in cells; larger than ``latent`` where another pack evaluates
            it part by part.
        origins: Where each of the n rows of ``latent`` comes from.
        picture_count: Pictures in the whole batch.
        pictures_known: Whether the picture of each origin is certain; equal pictures cannot be told apart.
    """

    entries: tuple[Entry, ...]
    latent: Tensor
    whole_size: tuple[int, int]
    origins: tuple[Origin, ...]
    picture_count: int
    pictures_known: bool = True

    def rows_of_numbers(self, numbers: Sequence[Sequence[int]], x: Tensor) -> tuple[Row, ...]:
        """The rows of a model call by their row numbers.

        Args:
            numbers: (entry, picture) of each row.
            x: (rows, C, height, width), the call's input before it is scaled.

        Raises:
            DynamicIDError: A row shows a part of the latent that is not found there.
        """
        return tuple(self._row(self.entries[entry], picture, x[i]) for i, (entry, picture) in enumerate(numbers))

    def rows_in_order(self, options: Mapping[str, Any], x: Tensor) -> tuple[Row, ...]:
        """The rows of a model call that brings no row numbers: chunk after chunk, as the host batches them.

        Raises:
            DynamicIDError: There are more or fewer rows than the host's chunks have, or as :meth:`rows_of_numbers`.
        """
        indices = tuple(options.get("cond_or_uncond") or (0,))
        uuids = options.get("uuids") or (None,) * len(indices)
        pictures = self.latent.shape[0]
        if x.shape[0] != len(indices) * pictures:
            raise rows_unknown(x.shape[0], len(indices) * pictures)
        by_key = {entry.key: entry for entry in self.entries}
        height, width = self.latent.shape[-2:]
        rows = []
        for chunk, (index, key) in enumerate(zip(indices, zip(indices, uuids, strict=False), strict=False)):
            entry = by_key.get(key) or Entry(NEGATIVE if index == 1 else POSITIVE, key, (0, 0, height, width))
            rows += [self._row(entry, picture, x[chunk * pictures + picture]) for picture in range(pictures)]
        return tuple(rows)

    def _row(self, entry: Entry, picture: int, x: Tensor) -> Row:
        y, left, height, width = entry.area
        if tuple(x.shape[-2:]) != (height, width):
            place = find_part(x, self.latent[picture : picture + 1])
            if place is None:
                raise part_unknown(x.shape[-2:], self.whole_size)
            (_, y, left), (height, width) = place, x.shape[-2:]
        origin = self.origins[picture]
        return Row(entry.role, origin.picture, window_of(origin.y + y, origin.x + left, height, width, self.whole_size))


def rows_by_default(options: Mapping[str, Any], count: int) -> tuple[Row, ...]:
    """The rows of a model call outside the host's sampling: chunk after chunk, index 1 of ``cond_or_uncond`` negative.

    Raises:
        DynamicIDError: The chunks do not divide ``count`` rows evenly.
    """
    indices = tuple(options.get("cond_or_uncond") or (0,))
    pictures, rest = divmod(count, len(indices))
    if rest:
        raise rows_unknown(count, len(indices) * max(pictures, 1))
    roles = (NEGATIVE if index == 1 else POSITIVE for index in indices)
    return tuple(Row(role, picture, WHOLE) for role in roles for picture in range(pictures))


def window_of(y: int, x: int, height: int, width: int, whole_size: tuple[int, int]) -> Window:
    """Cells as shares of the whole latent."""
    whole_height, whole_width = whole_size
    if (y, x, height, width) == (0, 0, whole_height, whole_width):
        return WHOLE
    return Window(x / whole_width, y / whole_height, width / whole_width, height / whole_height)


def find_part(part: Tensor, latents: Tensor) -> Origin | None:
    """Where ``part`` (C, h, w) was cut out of ``latents`` (n, C, H, W), value for value; None where it was not.

    Waits for the device; called only where a part of the latent is evaluated.
    """
    height, width = part.shape[-2:]
    rows, columns = latents.shape[-2] - height + 1, latents.shape[-1] - width + 1
    if rows < 1 or columns < 1 or part.shape[0] != latents.shape[1]:
        return None
    part = part.to(latents)
    corners = (latents[:, :, :rows, :columns] == part[:, :1, :1]).all(dim=1)
    for picture, y, x in corners.nonzero().tolist():
        if torch.equal(latents[picture, :, y : y + height, x : x + width], part):
            return Origin(picture, y, x)
    return None


def evaluation_of(entries: tuple[Entry, ...], latent: Tensor, whole: Tensor, window: Sequence[int]) -> Evaluation:
    """What is known of an evaluation of ``latent`` (n, C, h, w).

    ``latent`` counts as whole pictures where it has the proportions of ``whole`` but other values, as in a pass at
    another size.

    Args:
        entries: All conditionings.
        latent: What is evaluated.
        whole: (pictures, C, H, W), the latent of the step.
        window: The numbers of the n pictures in ``whole``, where whoever evaluates only some of them tells.

    Raises:
        DynamicIDError: ``latent`` has other proportions and is no part of ``whole``.
    """
    size, whole_size = (latent.shape[-2], latent.shape[-1]), (whole.shape[-2], whole.shape[-1])
    count, total = latent.shape[0], whole.shape[0]
    numbered = tuple(Origin(i, 0, 0) for i in range(count))
    if latent.shape == whole.shape:
        return Evaluation(entries, latent, size, numbered, total)
    if len(window) == count and max(window) < total and torch.equal(whole[list(window)], latent.to(whole)):
        return Evaluation(entries, latent, size, tuple(Origin(i, 0, 0) for i in window), total)
    parts = [find_part(row, whole) for row in latent]
    origins = tuple(origin for origin in parts if origin is not None)
    if len(origins) == count:
        alone = all(_is_alone(row, origin, whole) for row, origin in zip(latent, origins, strict=True))
        return Evaluation(entries, latent, whole_size, origins, total, alone)
    if abs(size[0] * whole_size[1] - size[1] * whole_size[0]) <= max(*size, *whole_size):
        return Evaluation(entries, latent, size, numbered, total, count == total)
    raise part_unknown(size, whole_size)


def _is_alone(part: Tensor, origin: Origin, whole: Tensor) -> bool:
    """Whether no other picture of ``whole`` has the values of ``part`` (C, h, w) at the same place."""
    height, width = part.shape[-2:]
    same_place = whole[:, :, origin.y : origin.y + height, origin.x : origin.x + width]
    return int((same_place == part.to(whole)).flatten(1).all(dim=1).sum()) == 1


def check_frames(frames: int, rows: Sequence[Row], evaluation: Evaluation | None) -> None:
    """Each picture has a set of tokens of its own: F is 1 or the number of pictures.

    Args:
        frames: F.
        rows: The rows of a call.
        evaluation: What is known beyond them; None outside the host's sampling.

    Raises:
        DynamicIDError: F is another number, or it is not known which pictures the rows show.
    """
    if frames == 1:
        return
    pictures = len({row.picture for row in rows}) if evaluation is None else evaluation.picture_count
    if pictures != frames:
        raise DynamicIDError(
            "face",
            f"It holds {frames} motions, but the latent batch has {pictures} picture{'s' if pictures > 1 else ''}.",
            f"Set the batch size to {frames}, or use one motion for all pictures.",
        )
    if evaluation is not None and not evaluation.pictures_known:
        raise DynamicIDError(
            "model",
            "Another node evaluates some pictures of the batch by themselves, and it is not known which.",
            "Remove that node, give every picture noise of its own, or use one motion for all pictures.",
        )


def rows_unknown(count: int, expected: int) -> DynamicIDError:
    """The error for rows whose role nobody can tell."""
    return DynamicIDError(
        "model",
        f"Another node evaluates {count} rows in a call where {expected} were expected, and does not hand on the "
        "conditioning that tells whose rows they are.",
        "Remove that node (regional prompts, tiling or batching of its own) or use it without Apply DynamicID. For "
        "regional prompts use ComfyUI's Conditioning (Set Mask) or (Set Area), for large pictures a second pass "
        "without tiles.",
    )


def part_unknown(part: Sequence[int], whole: Sequence[int]) -> DynamicIDError:
    """The error for a part of the latent that is not found in it."""
    return DynamicIDError(
        "model",
        f"Another node evaluates a part of {part[1]} x {part[0]} cells that is not found in the latent of "
        f"{whole[1]} x {whole[0]}, so people's places in it are unknown.",
        "Use tiles that are cut from the latent as they are (no padding, no resizing), or a second pass without tiles.",
    )
