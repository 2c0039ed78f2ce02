"""Writes ``dynamicid/evaluation/benchmark-1.json``: ``python -m scripts.write_benchmark``.

50 slots for people; 100 pictures of one person, 50 of two and 25 of three. Every slot sits alone twice, and with others
three or four times. Expressions and poses go round, so that each of the seven expressions meets each of the nine poses.
The file is the contract: a change of it is a new version under a new name.
"""

import json
import random
from itertools import cycle
from pathlib import Path
from typing import Any

from dynamicid.faces.prompts import EMOTIONS, describe_motion

from ._bootstrap import REPOSITORY, print_line

TARGET = REPOSITORY / "dynamicid" / "evaluation" / "benchmark-1.json"
PEOPLE = [f"person-{number:02d}" for number in range(1, 51)]
COUNTS = {1: 100, 2: 50, 3: 25}
WORDS = {1: ("one", "a person"), 2: ("two", "two people"), 3: ("three", "three people")}
BOXES = {
    1: [[(0.25, 0.1, 0.5, 0.9)], [(0.05, 0.1, 0.5, 0.9)], [(0.45, 0.1, 0.5, 0.9)]],
    2: [[(0.03, 0.12, 0.45, 0.88), (0.52, 0.12, 0.45, 0.88)]],
    3: [[(0.01, 0.15, 0.32, 0.85), (0.34, 0.15, 0.32, 0.85), (0.67, 0.15, 0.32, 0.85)]],
}
SCENES = (
    "a photo of {people} in a park in autumn",
    "a photo of {people} at the beach at sunset",
    "a photo of {people} in a kitchen, morning light",
    "a photo of {people} in a street of an old town",
    "a photo of {people} in front of a snowy mountain",
    "a photo of {people} in a library with high shelves",
    "a photo of {people} in a green forest, soft light",
    "a photo of {people} in a city at night, neon lights",
    "a photo of {people} in a field of sunflowers",
    "a photo of {people} on a train, window seat",
    "a photo of {people} in a cafe with brick walls",
    "a photo of {people} in front of a plain yellow wall",
    "a photo of {people} in the rain with umbrellas",
    "a photo of {people} in a museum, paintings on the wall",
    "a photo of {people} on a bridge over a river",
    "a photo of {people} in winter coats in the snow",
    "a photo of {people} in a garden, white shirts",
    "a photo of {people} in a workshop full of tools",
    "an oil painting of {people} in front of a dark wall",
    "a pencil drawing of {people}, white paper",
    "a watercolour of {people} by the sea",
    "a black and white photo of {people} in a studio",
    "a film still of {people} in a spaceship",
    "a photo of {people} in medieval armour in a castle",
    "a photo of {people} in red raincoats at a harbour",
)
POSES = [(pitch, yaw) for pitch in (0, 20, -20) for yaw in (0, 28, -28)]


def items() -> list[dict[str, Any]]:
    """All items in the file's order."""
    # 7 and 9 have no common factor: going round both meets all 63 pairs.
    motions = cycle(zip(EMOTIONS * len(POSES), POSES * len(EMOTIONS), strict=True))
    draw, made = random.Random(1), []
    for count, total in COUNTS.items():
        word, people = WORDS[count]
        queue: list[str] = []
        for number in range(total):
            boxes = BOXES[count][number % len(BOXES[count])]
            subjects = []
            for box, person in zip(boxes, _next_people(queue, count, draw), strict=True):
                expression, (pitch, yaw) = next(motions)
                prompt = describe_motion((pitch, yaw, 0.0), expression)
                subjects.append({
                    "person": person, "box": box, "expression": expression, "pitch": pitch, "yaw": yaw,
                    "face_prompt": prompt,
                })  # fmt: skip
            scene = SCENES[(number + total) % len(SCENES)].format(people=people)
            made.append(
                {
                    "item": f"{word}-{number + 1:03d}",
                    "prompt": scene,
                    "seed": 1000 * (len(made) + 1),
                    "people": subjects,
                }
            )
    return made


def _next_people(queue: list[str], count: int, draw: random.Random) -> list[str]:
    """Everybody once before anybody twice; alone in the slots' order, together at random."""
    chosen: list[str] = []
    while len(chosen) < count:
        if not queue:
            queue.extend(PEOPLE if count == 1 else draw.sample(PEOPLE, len(PEOPLE)))
        chosen.append(queue.pop(next(i for i, person in enumerate(queue) if person not in chosen)))
    return chosen


def text() -> str:
    """The file's content: one line a subject."""
    lines = ["{", '"format": "dynamicid-benchmark", "version": 1, "width": 512, "height": 512,']
    lines += [f'"people": {json.dumps(PEOPLE)},', '"items": [']
    made = items()
    for item in made:
        lines.append(f'{{"item": "{item["item"]}", "seed": {item["seed"]}, "prompt": {json.dumps(item["prompt"])},')
        subjects = ",\n  ".join(json.dumps(subject) for subject in item["people"])
        lines.append(f' "people": [\n  {subjects}]}}{"," if item is not made[-1] else ""}')
    return "\n".join([*lines, "]", "}", ""])


def main(target: Path = TARGET) -> None:
    """Writes the file."""
    target.write_text(text(), encoding="utf-8")
    print_line(f"Wrote {target}")


if __name__ == "__main__":
    main()
