"""The whole evaluation of the committed family, from its files to the tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dynamicid.checkpoints import load_weights
from dynamicid.training.base_model import load_base, load_clip_vision
from dynamicid.training.caching import open_analyzer
from dynamicid.training.config import BaseSection

from .evaluation import Evaluation, Extent
from .evaluation_report import SHEET_NAME, Results, write_results, write_sheet
from .layout_mass import layout_mass
from .places import BASE, DYNAMICID, FACE_PACK, FAMILY, READERS, VISION, WORK
from .readers import figures_of, load_readers
from .sitters import SitterEncoder
from .train_readers import train_readers
from .variants import ONE, SEVERAL, Places, Variant, layouts

EXAMPLES = {1: 3, 2: 3, 3: 2}
"""Rows of the sheet by number of people."""


@dataclass(frozen=True)
class Choices:
    """What is evaluated.

    Attributes:
        people: Which tables.
        layout_cases: Cases of two and of three people in the sweep over layouts; 0 = no sweep.
        weights: The trained weights, one file of all networks.
        has_imr: False = the file holds stage 1 only: everybody is painted as in the photo.
        out: Folder of the tables.
    """

    people: tuple[int, ...] = (1, 2, 3)
    layout_cases: int = 16
    weights: Path = DYNAMICID
    has_imr: bool = True
    out: Path = FAMILY


def evaluate(extent: Extent, choices: Choices) -> None:
    """Paints, reads, writes the tables and the sheet.

    Args:
        extent: How much of the tables.
        choices: Of what.
    """
    train_readers(WORK / "readers", READERS)
    evaluation = open_evaluation(extent, choices)
    variants = {count: possible(ONE if count == 1 else SEVERAL, choices.has_imr) for count in choices.people}
    tables = [evaluation.table(count, variants[count]) for count in choices.people]
    sweep, mass = {}, {}
    if choices.layout_cases:
        several = [count for count in choices.people if count > 1]
        layout_variants = possible((*layouts("boxes"), *layouts("slices")), choices.has_imr)
        sweep = evaluation.sweep(several, layout_variants, choices.layout_cases)
        places: tuple[Places, ...] = ("boxes", "slices")
        mass = {n: layout_mass(evaluation, n, places, choices.layout_cases, choices.has_imr) for n in several}
    titles = {variant.name: variant.title for variant in (*ONE, *SEVERAL)}
    results = Results(extent, tables, sweep, mass, figures_of(READERS), titles)
    write_results(choices.out, results)
    examples = []
    for count in choices.people:
        painted = {variant: evaluation.paint(variant, count)[0] for variant in variants[count]}
        for row, case in enumerate(evaluation.cases(count)[0][: EXAMPLES[count]]):
            examples.append((case, {variant: pictures[row] for variant, pictures in painted.items()}))
    write_sheet(choices.out / SHEET_NAME, examples)


def possible(variants: Sequence[Variant], has_imr: bool) -> list[Variant]:
    """The variants themselves, or without an IMR what is left of them, each once."""
    known = [variant if has_imr else variant.without_imr() for variant in variants]
    return list({replace(variant, name="", title=""): variant for variant in known}.values())


def open_evaluation(extent: Extent, choices: Choices) -> Evaluation:
    """Everything opened: the family's networks, its trained weights, the readers."""
    section, path = BaseSection(model=BASE, clip_vision=VISION, face_pack=FACE_PACK), choices.weights
    weights = load_weights(path, path if choices.has_imr else None)
    base = load_base(section)
    encoder = SitterEncoder(base, load_clip_vision(VISION), open_analyzer(section), weights)
    return Evaluation(base, weights, encoder, load_readers(READERS), extent, WORK / "evaluation")
