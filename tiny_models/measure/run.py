"""The evaluation from weight files to tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dynamicid.pipeline.pipeline import DynamicIDPipeline

from ..places import BASE, CLASSIFIERS, DYNAMICID, FACE_PACK, RESULTS, VISION, WORK
from ..train.classifiers import load_accuracies, load_classifiers
from ..train.train_classifiers import train_classifiers
from .benchmark import GROUPS, PORTRAITS, SCENES, Group
from .evaluation import PRECISIONS, BenchmarkEvaluation, Extent
from .layout_activation import layout_activation
from .report import SHEET_NAME, Results, write_results, write_sheet
from .token_probe import MotionProbe, probe_scores, train_probe
from .variants import ONE, SCENE, SEVERAL, Places, Variant, layouts

EXAMPLES = dict(zip((PORTRAITS, *SCENES), (3, 2, 2, 2), strict=True))
"""Rows of the sheet by group."""


@dataclass(frozen=True)
class Choices:
    """What is evaluated.

    Attributes:
        groups: Groups of cases, one table each.
        rows: Names of the variants that are painted; empty = all.
        layout_cases: Cases of two and of three people in the sweep over layout strengths; 0 = no sweep.
        weights: The trained weights, one file for all networks.
        has_imr: False = the file holds stage 1 only; variants that edit faces then use the tokens of the photo.
        out: Folder of the tables.
    """

    groups: tuple[Group, ...] = tuple(GROUPS.values())
    rows: tuple[str, ...] = ()
    layout_cases: int = 16
    weights: Path = DYNAMICID
    has_imr: bool = True
    out: Path = RESULTS


def evaluate(extent: Extent, choices: Choices) -> None:
    """Paints, scores, and writes the tables and the sheet of examples.

    Args:
        extent: How many pictures.
        choices: Which tables, of which weights.
    """
    train_classifiers(WORK / "readers", CLASSIFIERS)
    evaluation = open_evaluation(extent, choices)
    groups = choices.groups
    variants = {group: possible(variants_of(group, choices.rows), choices.has_imr) for group in groups}
    tables = [evaluation.table(group, variants[group]) for group in groups]
    sweep, activation = {}, {}
    if choices.layout_cases:
        several = [group for group in groups if group.people > 1]
        layout_variants = possible((*layouts("boxes"), *layouts("slices")), choices.has_imr)
        sweep = evaluation.sweep(several, layout_variants, choices.layout_cases)
        places: tuple[Places, ...] = ("boxes", "slices")
        activation = {
            n: layout_activation(evaluation, n, places, choices.layout_cases, choices.has_imr) for n in several
        }
    titles = {variant.name: variant.title for variant in (*SCENE, *SEVERAL)}
    tokens, alone = {}, [group for group in groups if group.people == 1]
    if choices.has_imr and alone:
        probe = train_probe(evaluation.encoder)
        tokens = {group: _tokens_of(evaluation, group, probe) for group in alone}
    results = Results(extent, tables, sweep, activation, tokens, load_accuracies(CLASSIFIERS), titles)
    write_results(choices.out, results)
    examples = []
    for group in groups:
        painted = {variant: evaluation.paint(variant, group)[0] for variant in variants[group]}
        for row, case in enumerate(evaluation.cases(group)[0][: EXAMPLES[group]]):
            examples.append((case, {variant: pictures[row] for variant, pictures in painted.items()}))
    write_sheet(choices.out / SHEET_NAME, examples)


def _tokens_of(evaluation: BenchmarkEvaluation, group: Group, probe: MotionProbe) -> dict[str, dict[str, float]]:
    cases, encoded, _ = evaluation.cases(group)
    subjects = [subject for case in encoded for subject in case]
    return probe_scores(probe, subjects, [subject.target for case in cases for subject in case.subjects])


def variants_of(group: Group, rows: Sequence[str] = ()) -> tuple[Variant, ...]:
    """The rows of a group's table, or those of them that are named in ``rows``."""
    variants = SEVERAL if group.people > 1 else ONE if group.is_portrait else SCENE
    return tuple(variant for variant in variants if not rows or variant.name in rows)


def possible(variants: Sequence[Variant], has_imr: bool) -> list[Variant]:
    """The variants; without an IMR those that stay different from each other, each once."""
    known = [variant if has_imr else variant.without_imr() for variant in variants]
    return list({replace(variant, name="", title=""): variant for variant in known}.values())


def open_evaluation(extent: Extent, choices: Choices) -> BenchmarkEvaluation:
    """Loads the tiny models, the trained weights and the classifiers."""
    path, dtype = choices.weights, PRECISIONS[extent.precision]
    imr = path if choices.has_imr else None
    pipeline = DynamicIDPipeline.from_files(BASE, VISION, path, FACE_PACK, imr=imr, dtype=dtype)
    return BenchmarkEvaluation(pipeline, load_classifiers(CLASSIFIERS), extent, WORK / "evaluation")
