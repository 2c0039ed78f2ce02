"""Face prompts. ``PromptWriter`` is the interface; a vision-language model can stand in for the templates."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..faces.prompts import describe_motion


class PromptWriter(Protocol):
    """Describes expression and pose."""

    def write(self, portrait: np.ndarray, pose: Sequence[float], word: str) -> str:
        """One line about a portrait (size, size, 3) uint8 RGB.

        Args:
            pose: Pitch, yaw, roll in degrees, as measured.
            word: The expression as it was read, one of ``faces.prompts.EMOTIONS``.
        """
        ...


class TemplatePrompt:
    """The published templates: "in a happy expression, facing up, in front view"."""

    def write(self, portrait: np.ndarray, pose: Sequence[float], word: str) -> str:
        """From pose and word alone."""
        return describe_motion(pose, word)
