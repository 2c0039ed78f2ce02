"""What is compared: the whole method, the method without one of its parts, and its layout at other strengths."""

from dataclasses import dataclass, replace
from typing import Literal

from dynamicid.attention.activation import DEFAULT_THRESHOLD
from dynamicid.faces.face import Face

from .benchmark import Box, Sitter
from .sitters import EncodedSitter

BASE_ALONE = "base alone"
Places = Literal["boxes", "heads", "slices", "everywhere"]
EVERYWHERE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Variant:
    """One way to paint the benchmark.

    Attributes:
        name: Short, in the table's file.
        title: In the table.
        tokens: The IMR's, the photo's own, those of a photo in the target motion, or none (the base model without the
            identity layers).
        says_expression: Whether the caption says the expressions.
        places: Where several people may be: boxes around head and shoulders, boxes around heads, equal vertical slices,
            or everywhere.
        gate: Threshold; None = gate off, which binds nobody to a place.
        layout_strength: None = as the Apply node, 0 for one person and 2 for several.
        layout_end: Share of the sampling range after which the layout rests.
        base_only_steps: First steps, in which the base model alone lays the picture out: of 16 those that saa_late.toml
            leaves out of the training.
    """

    name: str
    title: str
    tokens: Literal["edited", "plain", "ideal", "base alone"] = "edited"
    says_expression: bool = False
    places: Places = "boxes"
    gate: float | None = DEFAULT_THRESHOLD
    layout_strength: float | None = 0.0
    layout_end: float = 0.24
    base_only_steps: int = 4

    def without_imr(self) -> "Variant":
        """The same with everybody as in the photo."""
        return replace(self, tokens="plain") if self.tokens == "edited" else self

    def face_of(self, sitter: EncodedSitter) -> Face | None:
        """The tokens that this variant paints a sitter with."""
        return {"edited": sitter.edited, "plain": sitter.plain, "ideal": sitter.ideal, BASE_ALONE: None}[self.tokens]

    def box_of(self, sitter: Sitter, people: int) -> Box | None:
        """Where a sitter may be; None = an equal slice."""
        if people == 1 or self.places == "everywhere":
            return EVERYWHERE
        return {"boxes": sitter.box, "heads": sitter.head_box, "slices": None}[self.places]


FULL = Variant("full", "DynamicID")
FULL_WORDS = Variant("full, words", "DynamicID, expression in the caption", says_expression=True)
NO_GATE = Variant("no gate", "without the gate (sampling only)", gate=None)
NO_IMR = Variant("no IMR", "without IMR", tokens="plain")
NO_IMR_WORDS = Variant("no IMR, words", "without IMR, expression in the caption", tokens="plain", says_expression=True)
IDEAL = Variant("ideal", "a photo in the target motion: a ceiling for the IMR", tokens="ideal")
CHAINED = Variant("chained", "identities chained: no gate, no boxes", gate=None, places="everywhere")
NO_BOXES = Variant("no boxes", "without boxes, gate on", places="everywhere")
PUBLISHED = Variant(
    "published", "from the first step, layout 2: the node's defaults", layout_strength=None, base_only_steps=0
)
TEXT_ONLY = Variant(BASE_ALONE, "base model alone, text only", tokens="base alone", says_expression=True)

ONE = (FULL, FULL_WORDS, NO_GATE, NO_IMR, NO_IMR_WORDS, IDEAL, TEXT_ONLY)
SEVERAL = (FULL, CHAINED, NO_BOXES, NO_IMR, PUBLISHED, TEXT_ONLY)

STRENGTHS, ENDS = (1.0, 2.0, 4.0), (0.12, 0.24, 0.5, 1.0)


def layouts(places: Places) -> tuple[Variant, ...]:
    """Layout strength 0, and strength x end."""
    off = Variant(f"{places} 0", f"{places}, layout off", places=places, base_only_steps=0)
    return (off, *(layout(places, strength, end) for strength in STRENGTHS for end in ENDS))


def layout(places: Places, strength: float, end: float) -> Variant:
    """The method with another layout."""
    name = f"{places} {strength:g} to {end:g}"
    return Variant(name, name, places=places, layout_strength=strength, layout_end=end, base_only_steps=0)
