"""The small family's benchmark in the file format of ``python -m dynamicid evaluate``, one slot and photo a sitter."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..places import COMFY_SIDE
from .benchmark import Box, Case, Group, make_cases


def write_benchmark(folder: Path, groups: Sequence[Group], count: int) -> None:
    """Writes ``benchmark.json`` and ``photos/``: the first ``count`` cases of each group."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    slots, items = [], []
    for group in groups:
        for number, case in enumerate(make_cases(group, count), 1):
            names = [f"{group.name}-{number:03d}-{place}" for place in range(1, group.people + 1)]
            for name, sitter in zip(names, case.sitters, strict=True):
                Image.fromarray(sitter.photo).save(photos / f"{name}.png")
            slots += names
            items.append(_item(f"{group.name}-{number:03d}", case, names))
    content = {"format": "dynamicid-benchmark", "version": 1, "width": COMFY_SIDE, "height": COMFY_SIDE}
    text = json.dumps({**content, "people": sorted(slots), "items": items}, indent=1)
    (folder / "benchmark.json").write_text(text + "\n", encoding="utf-8")


def _item(name: str, case: Case, slots: Sequence[str]) -> dict[str, Any]:
    sitters = [
        {
            "person": slot, "box": _rounded(sitter.box), "expression": sitter.target.expression,
            "pitch": round(sitter.target.pitch, 1), "yaw": round(sitter.target.yaw, 1), "face_prompt": sitter.prompt,
        }
        for slot, sitter in zip(slots, case.sitters, strict=True)
    ]  # fmt: skip
    return {"item": name, "prompt": case.caption, "seed": 1000 * case.number, "people": sitters}


def _rounded(box: Box) -> list[float]:
    return [round(share, 4) for share in box]
