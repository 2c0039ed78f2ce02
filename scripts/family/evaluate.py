"""The whole evaluation of the committed family, from its files to the tables."""

import hashlib
from pathlib import Path

from dynamicid.checkpoints import load_weights
from dynamicid.training.base_model import load_base, load_clip_vision
from dynamicid.training.caching import open_analyzer
from dynamicid.training.config import BaseSection

from .evaluation import Evaluation, Extent
from .evaluation_report import SHEET_NAME, write_results, write_sheet
from .places import BASE, FACE_PACK, FAMILY, READERS, VISION, WORK
from .readers import figures_of, load_readers
from .sitters import SitterEncoder
from .train_readers import train_readers
from .variants import ONE, SEVERAL, layouts

COMBINED = WORK / "imr" / "run" / "weights" / "DynamicID.safetensors"
EXAMPLES = {1: 3, 2: 3, 3: 2}
"""Rows of the sheet by number of people."""


def evaluate(
    extent: Extent, people: tuple[int, ...], layout_cases: int, weights: Path | None, out: Path | None
) -> None:
    """Paints, reads, writes the tables and the sheet.

    Args:
        extent: How much of the tables.
        people: Which tables.
        layout_cases: Cases of two and of three people in the sweep over layouts; 0 = no sweep.
        weights: Combined file; None = COMBINED.
        out: Where to; None = FAMILY.
    """
    train_readers(WORK / "readers", READERS)
    evaluation = open_evaluation(extent, weights or COMBINED)
    tables = [evaluation.table(count, ONE if count == 1 else SEVERAL) for count in people]
    sweep = {}
    if layout_cases:
        variants = (*layouts("boxes"), *layouts("slices"))
        sweep = evaluation.sweep([count for count in people if count > 1], variants, layout_cases)
    titles = {variant.name: variant.title for variant in (*ONE, *SEVERAL)}
    folder = out or FAMILY
    write_results(folder, extent, tables, sweep, figures_of(READERS), titles)
    examples = []
    for count in people:
        variants = ONE if count == 1 else SEVERAL
        painted = {variant: evaluation.paint(variant, count)[0] for variant in variants}
        for row in range(min(EXAMPLES[count], extent.cases)):
            examples.append((evaluation.cases(count)[0][row], {v: pictures[row] for v, pictures in painted.items()}))
    write_sheet(folder / SHEET_NAME, examples)


def open_evaluation(extent: Extent, path: Path) -> Evaluation:
    """Everything opened: the family's networks, its trained weights, the readers."""
    section = BaseSection(model=BASE, clip_vision=VISION, face_pack=FACE_PACK)
    weights = load_weights(path, path)
    base = load_base(section)
    encoder = SitterEncoder(base, load_clip_vision(VISION), open_analyzer(section), weights)
    key = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return Evaluation(base, weights, encoder, load_readers(READERS), extent, WORK / "evaluation", key)
