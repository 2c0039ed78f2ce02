"""The demo's reference photos: portraits of drawn people whom no network of the family has seen.

`python -m tiny_models.train.photos` draws them again.
"""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from dynamicid.synthetic import DrawnMotion, Split, number_in, render_portrait, sample_portrait

from ..places import SEED, WEIGHTS

POSITIONS = (16, 8, 22)
"""In the held-out portraits; people whom one tells apart at a glance."""
SIZE = 256


def write_reference_photos(folder: Path) -> list[Path]:
    """Draws one portrait a person, at rest and from the front: ``person_1.png`` and so on.

    Args:
        folder: Made where it is missing.

    Returns:
        The paths, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for person, position in enumerate(POSITIONS, 1):
        portrait = sample_portrait(SEED, number_in(Split.held_out, position), Split.held_out)
        picture, _ = render_portrait(replace(portrait, motion=DrawnMotion()), SIZE)
        paths.append(folder / f"person_{person}.png")
        Image.fromarray(picture).save(paths[-1], optimize=True)
    return paths


if __name__ == "__main__":
    write_reference_photos(WEIGHTS / "photos")
