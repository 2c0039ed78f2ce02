"""Whether a painted picture shows everybody: each person at their place, once, and as nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .detected import DetectedFace
from .matching import Place, assign_by_place, face_middle, likeness

BLEND_MARGIN = 0.1
"""A face whose cosines with two people differ by less than this looks like both."""


@dataclass(frozen=True)
class PersonCheck:
    """One person of one picture.

    Args:
        face: Position of the face at their place among the picture's faces; None where there is none.
        cosine: Of that face with the person; 0 where there is none.
        rival: Position of the other person whom that face is most like; None with one person.
        rival_cosine: With that person; 0 with one person.
        copies: Other faces of the picture that are at least as like the person as ``threshold``, and more like them
            than like anybody else.
    """

    face: int | None
    cosine: float = 0.0
    rival: int | None = None
    rival_cosine: float = 0.0
    copies: int = 0

    @property
    def is_right(self) -> bool:
        """Whether their face was found at their place and is more like them than like anybody else."""
        return self.face is not None and (self.rival is None or self.cosine > self.rival_cosine)


@dataclass(frozen=True)
class PictureCheck:
    """One picture. ``others``: faces that are nobody's."""

    people: tuple[PersonCheck, ...]
    others: int

    @property
    def right(self) -> int:
        """Number of people who are right."""
        return sum(person.is_right for person in self.people)

    @property
    def mean_cosine(self) -> float:
        """Over all people; who is missing counts 0."""
        return float(np.mean([person.cosine for person in self.people]))

    def passes(self, threshold: float) -> bool:
        """Whether everybody is right and at least this like themselves."""
        return all(person.is_right and person.cosine >= threshold for person in self.people)


def check_picture(
    places: Sequence[Place],
    embeddings: np.ndarray,
    faces: Sequence[DetectedFace],
    size: tuple[int, ...],
    threshold: float,
) -> PictureCheck:
    """Compares the faces of a picture with the people who should be in it.

    Args:
        places: Of the N people.
        embeddings: (N, 512) of unit length.
        faces: Found in the picture.
        size: Its height and width in pixels.
        threshold: Cosine from which on another face counts as a copy of somebody.
    """
    cosines = likeness(embeddings, faces)
    own = assign_by_place(places, [face_middle(face, size[0], size[1]) for face in faces])
    others = [face for face in range(len(faces)) if face not in own]
    people = []
    for person, face in enumerate(own):
        copies = sum(bool(cosines[person, f] >= threshold and cosines[:, f].argmax() == person) for f in others)
        if face is None:
            people.append(PersonCheck(None, copies=copies))
            continue
        rivals = np.delete(np.arange(len(places)), person)
        rival = int(rivals[cosines[rivals, face].argmax()]) if len(rivals) else None
        rival_cosine = 0.0 if rival is None else float(cosines[rival, face])
        people.append(PersonCheck(face, float(cosines[person, face]), rival, rival_cosine, copies))
    return PictureCheck(tuple(people), len(others))


def best_picture(checks: Sequence[PictureCheck]) -> int:
    """Position of the picture with most people right, then the highest mean cosine; the first of equal ones."""
    return max(range(len(checks)), key=lambda i: (checks[i].right, checks[i].mean_cosine, -i))


def describe_checks(checks: Sequence[PictureCheck], threshold: float) -> str:
    """The report: a line for each picture and person, and which picture is best."""
    lines = []
    for number, check in enumerate(checks, 1):
        verdict = "passed" if check.passes(threshold) else "not passed"
        lines.append(
            f"Picture {number}: {verdict}. {check.right} of {len(check.people)} people right, "
            f"mean cosine {check.mean_cosine:.2f}."
        )
        lines += [f"  Person {n}: {_describe_person(person, threshold)}" for n, person in enumerate(check.people, 1)]
        if check.others:
            lines.append(f"  Faces at nobody's place: {check.others}.")
    lines.append(f"Best: picture {best_picture(checks) + 1}.")
    return "\n".join(lines)


def _describe_person(person: PersonCheck, threshold: float) -> str:
    again = f" Doubled: {person.copies} more at other places." if person.copies else ""
    if person.face is None:
        return f"missing, no face at their place.{again}"
    text = f"cosine {person.cosine:.2f}"
    if person.rival is not None:
        text += f", with person {person.rival + 1} {person.rival_cosine:.2f}"
    if not person.is_right:
        text += f": looks more like person {(person.rival or 0) + 1}"
    elif person.rival is not None and person.cosine - person.rival_cosine < BLEND_MARGIN:
        text += f": blended with person {person.rival + 1}"
    elif person.cosine < threshold:
        text += f": right, but below the threshold of {threshold:g}"
    else:
        text += ": right"
    return f"{text}.{again}"
