"""The colour of each person in every picture of this pack, the same as on the canvas (`web/people.js`)."""

from .regions import MAX_PEOPLE

PERSON_COLOURS: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (58, 116, 220), (213, 94, 0), (204, 121, 167), (170, 170, 170),
)  # fmt: skip
"""Red, green, blue of person 1 to 8, told apart by colour-blind eyes as well (after Okabe and Ito)."""

assert len(PERSON_COLOURS) == MAX_PEOPLE
