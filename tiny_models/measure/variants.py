"""The variants that the evaluation compares: the whole method, its ablations, and other layout strengths."""

from dataclasses import dataclass, replace
from typing import Literal

from dynamicid.attention.options import AUTOMATIC_LAYOUT, DEFAULTS
from dynamicid.boxes import BoxXywhNorm
from dynamicid.faces.face import Face

from .benchmark import CaseSubject
from .subjects import EncodedSubject

BASE_ALONE = "base alone"
Places = Literal["boxes", "heads", "slices", "everywhere"]
PORTRAIT_GROW = 0.95
"""``grow`` of the crops, so that faces are as tall in them as in the drawn portraits: 0.48 of the side."""
EVERYWHERE: BoxXywhNorm = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Variant:
    """One way to paint the benchmark.

    Attributes:
        name: Short name, used in the table's file.
        title: Name in the table.
        tokens: Identity tokens: "edited" by the IMR, "plain" as encoded from the photo, "ideal" of a photo in the
            target motion, or "base alone": the base model without DynamicID.
        says_expression: Whether the caption names the expressions.
        places: Boxes of several people: around head and shoulders, around heads, equal vertical slices, or the whole
            picture.
        gate: Threshold of the gate; None switches it off, and places then bind nobody.
        layout_strength: -1 = as the Apply node, 0 for one person and 2 for several.
        layout_end: Share of the sampling range after which the layout strength is 0.
        repaint: Every face is repainted by itself, from this share of noise; 0 = not at all.
        best_of: Pictures painted of each case and seed; the one that Check People finds best is kept.
        base_only_steps: First steps, sampled by the base model alone. 4 of 16 steps are above the ``max_timestep`` of
            saa_late.toml.
    """

    name: str
    title: str
    tokens: Literal["edited", "plain", "ideal", "base alone"] = "edited"
    says_expression: bool = False
    places: Places = "boxes"
    gate: float | None = DEFAULTS.gate_threshold
    layout_strength: float = 0.0
    layout_end: float = 0.24
    base_only_steps: int = 4
    repaint: float = 0.0
    best_of: int = 1

    def without_imr(self) -> "Variant":
        """The variant with the photo's own tokens where it has edited ones."""
        return replace(self, tokens="plain") if self.tokens == "edited" else self

    def face_for(self, subject: EncodedSubject) -> Face | None:
        """The subject's face; None for the base model alone."""
        return {"edited": subject.edited, "plain": subject.plain, "ideal": subject.ideal, BASE_ALONE: None}[self.tokens]

    def box_for(self, subject: CaseSubject, people: int) -> BoxXywhNorm | None:
        """The subject's box; None = an equal slice."""
        if people == 1 or self.places == "everywhere":
            return EVERYWHERE
        return {"boxes": subject.box, "heads": subject.head_box, "slices": None}[self.places]


FULL = Variant("full", "DynamicID")
FULL_WORDS = Variant("full, words", "DynamicID, expression in the caption", says_expression=True)
NO_GATE = Variant("no gate", "without the gate (sampling only)", gate=None)
NO_IMR = Variant("no IMR", "without IMR", tokens="plain")
NO_IMR_WORDS = Variant("no IMR, words", "without IMR, expression in the caption", tokens="plain", says_expression=True)
IDEAL = Variant("ideal", "a photo in the target motion: a ceiling for the IMR", tokens="ideal")
CHAINED = Variant("chained", "identities chained: no gate, no boxes", gate=None, places="everywhere")
NO_BOXES = Variant("no boxes", "without boxes, gate on", places="everywhere")
PUBLISHED = Variant(
    "published",
    "from the first step, layout 2: the node's defaults",
    layout_strength=AUTOMATIC_LAYOUT,
    base_only_steps=0,
)
REPAINTED = replace(FULL, name="repainted", title="DynamicID, every face repainted", repaint=0.7)
BEST_OF_FOUR = replace(REPAINTED, name="best of four", title="the best of four such pictures", best_of=4)
DIFFERENCES = ((REPAINTED, FULL), (BEST_OF_FOUR, FULL), (BEST_OF_FOUR, REPAINTED))
"""Pairs of rows whose difference is given, picture by picture."""
TEXT_ONLY = Variant(BASE_ALONE, "base model alone, text only", tokens="base alone", says_expression=True)

ONE = (FULL, FULL_WORDS, NO_GATE, NO_IMR, NO_IMR_WORDS, IDEAL, TEXT_ONLY)
SCENE = (*ONE, REPAINTED)
SEVERAL = (FULL, CHAINED, NO_BOXES, NO_IMR, PUBLISHED, TEXT_ONLY, REPAINTED, BEST_OF_FOUR)

STRENGTHS, ENDS = (1.0, 2.0, 4.0), (0.12, 0.24, 0.5, 1.0)


def layouts(places: Places) -> tuple[Variant, ...]:
    """Layout strength 0, and strength x end."""
    off = Variant(f"{places} 0", f"{places}, layout off", places=places, base_only_steps=0)
    return (off, *(layout(places, strength, end) for strength in STRENGTHS for end in ENDS))


def layout(places: Places, strength: float, end: float) -> Variant:
    """The method with another layout."""
    name = f"{places} {strength:g} to {end:g}"
    return Variant(name, name, places=places, layout_strength=strength, layout_end=end, base_only_steps=0)
