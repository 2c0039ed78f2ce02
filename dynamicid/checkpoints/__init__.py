"""Weight files: key layouts as data, strict loading, conversion to one safetensors file."""

from .saa import LowRank, SAALayerWeights
from .weights import DynamicIDWeights, load_weights

__all__ = ["DynamicIDWeights", "LowRank", "SAALayerWeights", "load_weights"]
