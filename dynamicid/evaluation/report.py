"""The results as one HTML file without references to other files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files.atomic import write_text
from ..files.html import picture_url, render_template
from ..files.pictures import read_picture
from ..files.skipped import BadSample
from .pictures import BenchmarkPerson, Picture
from .plots import leakage_plot, spread_plot
from .scoring import Row
from .summary import BOOTSTRAPS, format_summary
from .tables import Result

EXAMPLES = 8
"""Shown for each number of people."""
PROBLEMS_SHOWN = 60
_PICTURE, _PHOTO = 192, 72


def write_report(result: Result, pictures: Sequence[Picture], people: Mapping[str, BenchmarkPerson], out: Path) -> None:
    """Writes ``report.html``.

    Args:
        result: What was measured.
        pictures: The pictures; some are shown.
        people: By slot; their photos are shown beside.
        out: Folder to write into.
    """
    metrics = [
        {"metric": metric, "cells": [format_summary(group[metric.key]) for group in result.groups.values()]}
        for metric in result.measured()
    ]
    counts = [(name, max(summary.pictures for summary in group.values())) for name, group in result.groups.items()]
    page = render_template(
        Path(__file__).with_name("report.html.jinja"),
        result=result,
        counts=counts,
        metrics=metrics,
        bootstraps=BOOTSTRAPS,
        spread=spread_plot(result),
        leakage=leakage_plot(result),
        examples=examples(result.rows, pictures, people),
        setting=result.setting.named(),
        problems=result.skipped[:PROBLEMS_SHOWN],
    )
    write_text(out / "report.html", page)


def examples(
    rows: Sequence[Row], pictures: Sequence[Picture], people: Mapping[str, BenchmarkPerson]
) -> list[dict[str, Any]]:
    """EXAMPLES evenly spaced pictures for each number of people, with photos and numbers."""
    by_picture: dict[str, list[Row]] = {}
    for row in rows:
        by_picture.setdefault(row["picture"], []).append(row)
    scored = [picture for picture in pictures if picture.path.name in by_picture]
    shown = []
    for count in sorted({len(picture.item.people) for picture in scored}):
        group = [picture for picture in scored if len(picture.item.people) == count]
        chosen = sorted(set(np.linspace(0, len(group) - 1, EXAMPLES).round().astype(int).tolist()))
        shown += [_example(group[place], by_picture[group[place].path.name], people) for place in chosen]
    return [example for example in shown if example]


def _example(picture: Picture, rows: Sequence[Row], people: Mapping[str, BenchmarkPerson]) -> dict[str, Any]:
    try:
        image = read_picture(picture.path)
    except BadSample:
        # Removed since it was scored.
        return {}
    faces = [
        {
            "photo": picture_url(Image.fromarray(people[row["person"]].photo), _PHOTO),
            "target": f"{row['expression']}, pitch {row['pitch']:g}, yaw {row['yaw']:g}",
            "text": _numbers(row),
        }
        for row in rows
    ]
    return {
        "name": picture.path.name,
        "prompt": picture.item.prompt,
        "image": picture_url(Image.fromarray(image), _PICTURE),
        "faces": faces,
    }


def _numbers(row: Row) -> str:
    if row["face"] is None:
        return "nobody found"
    parts = [f"FaceSim {row['face_sim']:.2f}"]
    if row["leakage"] is not None:
        parts.append(f"other {row['leakage']:.2f}")
    if row["read_expression"] is not None:
        parts.append(row["read_expression"])
    return ", ".join([*parts, f"pitch {row['read_pitch']:.0f}, yaw {row['read_yaw']:.0f}"])
