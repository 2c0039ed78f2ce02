"""True combinations of expression and pose that ``curate`` chooses, by landmarks and emotion model, against chance.

    python benchmarks/curation.py [--here] [--people 9] [--photos 120]

Draws held-out people: 60 % of a person's photos are neutral and 60 % frontal, the rest is spread evenly. A cell is a
true combination of expression and pose. Chance is the mean over 1000 random draws of as many photos as were chosen.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts._bootstrap import print_line, relaunch_in_environment  # noqa: E402

SEED, DRAWS, SIZE = 0, 1000, 128
COMMON_SHARE = 0.6
Cell = tuple[str, str]


def write_people(folder: Path, people: int, photos: int) -> dict[str, Cell]:
    """Writes ``<person>/<photo>.png``; returns path -> true expression and pose."""
    import numpy as np
    from PIL import Image

    from dynamicid.synthetic import EXPRESSIONS, POSES, Split, posed, render_portrait, sample_identity, sample_portrait
    from dynamicid.synthetic.motion import jittered
    from dynamicid.synthetic.writing import people_numbers, variface_number

    def usually(random: np.random.Generator, common: str, names: list[str]) -> str:
        others = [name for name in names if name != common]
        return common if random.random() < COMMON_SHARE else others[int(random.integers(len(others)))]

    truth = {}
    for person in people_numbers(Split.held_out, people):
        random = np.random.default_rng([SEED, person])
        (folder / str(person)).mkdir(parents=True)
        for photo in range(photos):
            cell = (usually(random, "neutral", list(EXPRESSIONS)), usually(random, "front", list(POSES)))
            like = sample_portrait(SEED, variface_number(person, photo), identity=sample_identity(SEED, person))
            portrait = replace(like, motion=jittered(posed(*cell), random))
            path = folder / str(person) / f"{photo:03d}.png"
            Image.fromarray(render_portrait(portrait, SIZE)[0]).save(path)
            truth[f"{folder.name}/{person}/{photo:03d}.png"] = cell
    return truth


def curate(photos: Path, out: Path, emotion_model: Path | None) -> list[dict[str, Any]]:
    """Runs the command; returns the rows of ``photos.parquet``."""
    import pyarrow.parquet as pq

    from tiny_models.places import FACE_PACK

    command = [sys.executable, "-m", "dynamicid", "curate", photos, "--out", out, "--face-pack", FACE_PACK]
    command += ["--labels", "folders", "--size", SIZE, "--part-size", 60]
    command += [] if emotion_model is None else ["--emotion-model", emotion_model]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=True)
    return pq.read_table(out / "photos.parquet").to_pylist()


def compare(rows: list[dict[str, Any]], truth: dict[str, Cell], person: str) -> str:
    """One line about the chosen photos of a person."""
    import numpy as np

    cells = [cell for source, cell in truth.items() if source.split("/")[1] == person]
    own = [row for row in rows if row["person"] == person]
    chosen = {truth[row["source"]] for row in own}
    random = np.random.default_rng(SEED)
    draws = [random.choice(len(cells), len(own), replace=False) for _ in range(DRAWS)]
    chance = float(np.mean([len({cells[i] for i in draw}) for draw in draws]))
    right = sum(row["expression"] == truth[row["source"]][0] for row in own)
    return (
        f"{person}: {len(chosen)} of {len(set(cells))} cells with {len(own)} photos, {chance:.1f} by chance: "
        f"{len(chosen) / chance:.2f} x; {right} of {len(own)} face prompts name the true expression"
    )


def main() -> None:
    """Draws the people, curates them twice and prints a line per person."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true", help="use this Python as it is; make no environment")
    parser.add_argument("--people", type=int, default=9)
    parser.add_argument("--photos", type=int, default=120, help="of each")
    options = parser.parse_args()
    if not options.here:
        relaunch_in_environment()
    from tiny_models.places import EMOTION

    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "people"
        truth = write_people(photos, options.people, options.photos)
        for name, model in (("landmarks", None), ("emotion model", EMOTION)):
            rows = curate(photos, Path(folder) / name, model)
            for person in sorted({source.split("/")[1] for source in truth}):
                print_line(f"{name}, {compare(rows, truth, person)}")


if __name__ == "__main__":
    main()
