"""The settings of Apply DynamicID, their ranges and their published defaults: the one place that states them."""

from dataclasses import dataclass

from ..errors import check_range

AUTOMATIC_LAYOUT = -1.0
SEVERAL_PEOPLE_LAYOUT = 2.0
RANGES = {
    "weight": (0.0, 3.0),
    "lora_strength": (0.0, 2.0),
    "gate_threshold": (0.0, 1.0),
    "layout_strength": (AUTOMATIC_LAYOUT, 10.0),
    "layout_end": (0.0, 1.0),
    "start_at": (0.0, 1.0),
    "end_at": (0.0, 1.0),
}


@dataclass(frozen=True)
class ApplyOptions:
    """Strengths and ranges of SAA (docs/method.md). Fractions are of the sampling range, by sigma.

    Args:
        weight: id_scale; 0 = no identity branch.
        lora_strength: Factor on up @ down in W' = W + up @ down; 0 = the model's own weights.
        gate: Whether the activation gate and the assignment to places act.
        gate_threshold: Activations below are set to 0, 0..1.
        layout_strength: s; -1 = 0 with one person, 2 with more.
        layout_end: Fraction of sampling after which s is 0.
        start_at: Fraction of sampling at which the identity branch and the LoRA begin.
        end_at: Fraction of sampling at which they end.

    Raises:
        DynamicIDError: A value outside ``RANGES``.
    """

    weight: float = 1.0
    lora_strength: float = 1.0
    gate: bool = True
    gate_threshold: float = 0.3
    layout_strength: float = AUTOMATIC_LAYOUT
    layout_end: float = 0.24
    start_at: float = 0.0
    end_at: float = 1.0

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            check_range(name, getattr(self, name), low, high)

    def layout_strength_for(self, people: int) -> float:
        """s >= 0 for a picture of ``people`` people."""
        if self.layout_strength >= 0:
            return self.layout_strength
        return SEVERAL_PEOPLE_LAYOUT if people > 1 else 0.0


DEFAULTS = ApplyOptions()
