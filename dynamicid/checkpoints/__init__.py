"""Weight files: key layouts as data, strict loading, conversion to one safetensors file."""

from .saa import LowRank, SAALayer
from .weights import DynamicIDWeights, load_weights

__all__ = ["DynamicIDWeights", "LowRank", "SAALayer", "load_weights"]
