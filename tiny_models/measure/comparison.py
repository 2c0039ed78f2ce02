"""DynamicID beside its baselines, by all measures and both recognisers: ``results/baselines.md`` and ``.json``."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dynamicid.training.config import SAAConfig, load_config

from ..places import RESULTS
from ..train.baselines import FOLDER, Kind, load_baseline, make_projector, train_baseline
from .baselines import baseline_pipeline
from .benchmark import Group
from .evaluation import BenchmarkEvaluation, Extent
from .likeness import KEYS, NAMES, TwoRecognisers, order_disagreements
from .likeness import MEANINGS as LIKENESS_MEANINGS
from .metrics import MEANINGS, Scores, Summary, differences, summaries
from .report import HEADS, named_differences, plain, summary_table
from .run import Choices, open_evaluation, variants_of
from .variants import FULL, FULL_WORDS, NO_IMR, NO_IMR_WORDS, Variant

ROWS = tuple(variant.name for variant in (FULL, FULL_WORDS, NO_IMR, NO_IMR_WORDS))
"""DynamicID's rows by default."""
_COMPARED = {"DynamicID": FULL, "DynamicID, words": FULL_WORDS}
"""DynamicID's rows that are compared with the baselines, by their names in the differences."""
TITLES: dict[Kind, str] = {
    "faceid": "IP-Adapter FaceID's manner: decoupled attention, identity vector",
    "queries": "the same with learned queries (Q-Former's manner)",
}
_NOTE = (
    "Baselines: trained on the same pictures with the same steps and base model as stage 1, sampled alike; no gate, no "
    "LoRA, no IMR; several people are chained, each in the mask of their box."
)


@dataclass(frozen=True, eq=False)
class Contest:
    """One group's results.

    Attributes:
        group: The group.
        variants: Row -> what it paints.
        scores: Row -> scores of ``metrics.MEANINGS``.
        likenesses: Row -> scores of ``likeness.KEYS``.
        baselines: The rows that are baselines; the others are DynamicID's.
    """

    group: Group
    variants: Mapping[str, Variant]
    scores: Mapping[str, Scores]
    likenesses: Mapping[str, Scores]
    baselines: Sequence[str]

    @property
    def differences(self) -> dict[tuple[str, str], dict[str, Summary]]:
        """(DynamicID's row, baseline) -> the one less the other, picture by picture.

        A baseline whose caption names the expression is compared with DynamicID without and with such a caption.
        """
        return {
            (own, other): self._difference(row.name, other)
            for other in self.baselines
            for own, row in _COMPARED.items()
            if row.name in self.scores and (self.variants[other].says_expression or not row.says_expression)
        }

    def _difference(self, own: str, other: str) -> dict[str, Summary]:
        scores = differences(self.scores[own], self.scores[other])
        likenesses = differences(self.likenesses[own], self.likenesses[other], KEYS)
        return {**{key: row for key, row in likenesses.items() if key not in scores}, **scores}

    def not_better(self) -> list[str]:
        """A sentence for each difference in which DynamicID is not better by some measure, the interval excluding 0."""
        texts = []
        for (own, other), row in self.differences.items():
            measured = {key: summary for key, summary in row.items() if not math.isnan(summary.mean)}
            names = [HEADS.get(key) or NAMES[key] for key, summary in measured.items() if not _is_better(key, summary)]
            if names:
                texts.append(f"{self.group.title}, '{own}' against '{other}': {'; '.join(names)}.")
        return texts


def compare_baselines(
    extent: Extent,
    groups: Sequence[Group],
    kinds: Sequence[Kind],
    rows: Sequence[str] = ROWS,
    out: Path = RESULTS,
) -> None:
    """Trains the baselines that are not there yet, paints and scores everything, and writes the page.

    Args:
        extent: How many pictures.
        groups: Of the benchmark.
        kinds: Baselines; none = DynamicID alone.
        rows: DynamicID's, by their names.
        out: Folder of the page.
    """
    whole = open_evaluation(extent, Choices())
    recognisers = TwoRecognisers(whole.classifiers, whole.pipeline.face_detector)
    rivals: dict[Kind, BenchmarkEvaluation] = {kind: _open_baseline(kind, whole) for kind in kinds}
    contests = []
    for group in groups:
        entries = [(whole, variant) for variant in own_rows(group, rows)]
        entries += [(rival, variant) for kind, rival in rivals.items() for variant in baseline_rows(kind)]
        contests.append(contest(group, entries, recognisers, [v.name for kind in kinds for v in baseline_rows(kind)]))
    write_contests(out, extent, contests)


def own_rows(group: Group, names: Sequence[str]) -> list[Variant]:
    """DynamicID's rows of these names: those of the group's table, and with the expression in the caption."""
    known = {variant.name: variant for variant in (*variants_of(group), FULL_WORDS, NO_IMR_WORDS)}
    return [known[name] for name in names if name in known]


def baseline_rows(kind: Kind) -> tuple[Variant, Variant]:
    """The baseline, and with the expression in the caption."""
    plain_row = replace(NO_IMR, name=kind, title=TITLES[kind])
    worded = replace(NO_IMR_WORDS, name=f"{kind}, words", title=f"{TITLES[kind]}, expression in the caption")
    return plain_row, worded


def contest(
    group: Group,
    entries: Sequence[tuple[BenchmarkEvaluation, Variant]],
    recognisers: TwoRecognisers,
    baselines: Sequence[str],
) -> Contest:
    """Paints and scores the rows of one group."""
    scores, likenesses = {}, {}
    for evaluation, variant in entries:
        pictures = evaluation.paint(variant, group)
        cases, _, _ = evaluation.cases(group)
        scores[variant.name] = evaluation.scores(pictures, group)
        likenesses[variant.name] = [
            [recognisers.score(case, picture) for case, picture in zip(cases, seed, strict=True)] for seed in pictures
        ]
    return Contest(group, {variant.name: variant for _, variant in entries}, scores, likenesses, baselines)


def write_contests(folder: Path, extent: Extent, contests: Sequence[Contest]) -> None:
    """Writes ``baselines.json`` and ``baselines.md``."""
    content = {
        "about": {**asdict(extent), "meanings": MEANINGS, "likeness": LIKENESS_MEANINGS},
        "table": {one.group.name: plain(_summaries(one.scores)) for one in contests},
        "likeness": {one.group.name: plain(_summaries(one.likenesses, KEYS)) for one in contests},
        "differences": {one.group.name: plain(named_differences(one.differences)) for one in contests},
        "disagreements": {one.group.name: order_disagreements(one.likenesses) for one in contests},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "baselines.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "baselines.md").write_text(contest_page(extent, contests), encoding="utf-8")


def contest_page(extent: Extent, contests: Sequence[Contest]) -> str:
    """The Markdown page; first of all where DynamicID is not better."""
    baselines = any(one.baselines for one in contests)
    lines = [f"# DynamicID{' and baselines' if baselines else ''}, by two recognisers", ""]
    if baselines:
        worse = [text for one in contests for text in one.not_better()]
        lines += ["DynamicID is not better (the 95 % interval of the difference holds 0 or lies below it) in:", ""]
        lines += [*(f"- {text}" for text in worse or ["nothing."]), "", _NOTE, ""]
    lines += [
        f"{extent.seeds} seeds, {extent.steps} DDIM steps, guidance {extent.guidance:g}. In brackets: 95 % interval "
        "over cases; after ±: standard deviation between the seeds. The face pack's recogniser conditions the model, "
        "the readers' conditions nothing. Made by `python scripts/evaluate_baselines.py`.",
        "",
        *(f"- **{HEADS[name]}**: {meaning}." for name, meaning in MEANINGS.items()),
        *(f"- **{NAMES[name]}** (second table): {meaning}" for name, meaning in LIKENESS_MEANINGS.items()),
    ]
    for one in contests:
        count = sum(len(seed) for seed in next(iter(one.scores.values())))
        titled = {one.variants[name].title: rows for name, rows in _summaries(one.scores).items()}
        like = {one.variants[name].title: rows for name, rows in _summaries(one.likenesses, KEYS).items()}
        lines += ["", f"## {one.group.title}", "", f"{count} pictures a row.", "", *summary_table(titled, HEADS)]
        lines += ["", "By both recognisers:", "", *summary_table(like, NAMES)]
        if one.differences:
            heads = {**HEADS, **{key: name for key, name in NAMES.items() if key not in HEADS}}
            named = named_differences(one.differences)
            lines += ["", "Differences of the same pictures.", "", *summary_table(named, heads)]
        disagreements = order_disagreements(one.likenesses)
        lines += ["", "Orders on which the recognisers disagree, both intervals excluding 0:", ""]
        lines += [f"- {text}" for text in disagreements or ["none."]]
    return "\n".join(lines) + "\n"


def _is_better(key: str, difference: Summary) -> bool:
    return difference.high < 0 if key.startswith("copy_paste") else difference.low > 0


def _summaries(rows: Mapping[str, Scores], keys: Sequence[str] = tuple(MEANINGS)) -> dict[str, dict[str, Summary]]:
    return {name: summaries(scores, keys) for name, scores in rows.items()}


def _open_baseline(kind: Kind, whole: BenchmarkEvaluation) -> BenchmarkEvaluation:
    trained = load_baseline(train_baseline(kind))
    config = load_config(FOLDER / "saa.toml", SAAConfig)
    sizes = whole.pipeline.weights.projector
    projector = make_projector(kind, sizes.width, sizes.id_width, sizes.media_width, config)
    pipeline = baseline_pipeline(whole.pipeline, projector, trained)
    return BenchmarkEvaluation(pipeline, whole.classifiers, whole.extent, whole.work)
