"""Describes a weight file in words and numbers: what it is, what it holds, what it fits, what is wrong with it."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DynamicIDError
from .bases import SUPPORTED_BASES, fitting_base
from .files import open_weight_file
from .keys import IMR, KEYPOINTS, NETWORK_TITLES, OLDER_PREFIXES, PROJECTOR, SAA
from .layout import NetworkPart, find_networks, layout_name
from .networks import (
    imr_config,
    keypoint_config,
    load_imr,
    load_keypoint_encoder,
    load_projector,
    projector_config,
)
from .saa import check_saa, load_saa
from .weight_file import WeightFile
from .weights import find_partner

ITEM_SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int64": 8}
UNKNOWN = "unknown"


@dataclass(frozen=True)
class NetworkReport:
    """One network of a file.

    Attributes:
        network: Its name in ``keys``; ``title`` in words.
        parameters: Number of weights, counters apart; ``size`` in bytes.
        dtypes: Floating dtypes found.
        details: depth, widths, heads, rank, layers, as far as the network has them.
    """

    network: str
    title: str
    parameters: int
    size: int
    dtypes: tuple[str, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FileReport:
    """A whole file. ``fits``: name of the base or None; ``problems``: none in a sound file; ``notes``: the rest."""

    path: str
    kind: str
    container: str
    size: int
    networks: tuple[NetworkReport, ...]
    fits: str | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def inspect_file(path: str | os.PathLike[str]) -> FileReport:
    """Reads the whole file, values included. Faults become ``problems``; nothing is raised for a bad file."""
    path = Path(path)
    size = path.stat().st_size if path.is_file() else 0
    try:
        file = open_weight_file(path, path.name)
        parts = find_networks(file, path.name)
    except DynamicIDError as error:
        return FileReport(str(path), UNKNOWN, UNKNOWN, size, (), None, (_sentence(error),), ())
    problems: list[str] = []
    reports = tuple(inspect_network(part, problems) for part in parts.values())
    problems += _lacks(file, parts)
    fits, notes = _fit(reports)
    if any(part.prefix in OLDER_PREFIXES for part in parts.values()):
        notes += (
            "IP-Adapter FaceID Plus files with LoRA have the same names and shapes; tensors cannot tell them apart.",
        )
    return FileReport(
        str(path), layout_name(parts), file.container, size, reports, fits, tuple(dict.fromkeys(problems)), notes
    )


def inspect_network(part: NetworkPart, problems: list[str] | None = None) -> NetworkReport:
    """Numbers of one network; faults are appended to ``problems`` where given, raised otherwise."""
    weights = {key: entry for key, entry in part.entries.items() if entry.dtype != "int64"}
    parameters = sum(math.prod(entry.shape) for entry in weights.values())
    size = sum(math.prod(entry.shape) * ITEM_SIZES.get(entry.dtype, 1) for entry in part.entries.values())
    dtypes = tuple(sorted({entry.dtype for entry in weights.values()}))
    details: Mapping[str, Any] = {}
    try:
        details = _details(part)
        _LOADERS[part.network](part, part.file.path.name)
    except DynamicIDError as error:
        if problems is None:
            raise
        problems.append(_sentence(error))
    return NetworkReport(part.network, NETWORK_TITLES[part.network], parameters, size, dtypes, details)


_CONFIGS: dict[str, Callable[[NetworkPart, str], dict[str, Any]]] = {
    PROJECTOR: projector_config,
    IMR: imr_config,
    KEYPOINTS: keypoint_config,
}
_LOADERS: dict[str, Callable[[NetworkPart, str], object]] = {
    PROJECTOR: load_projector,
    IMR: load_imr,
    KEYPOINTS: load_keypoint_encoder,
    SAA: lambda part, where: load_saa(part, None, where),
}


def _details(part: NetworkPart) -> dict[str, Any]:
    where = part.file.path.name
    if part.network == SAA:
        shape = check_saa(part, None, where)
        return {
            "layers": len(shape.layer_widths),
            "rank": shape.ranks[0] if len(shape.ranks) == 1 else list(shape.ranks),
            "text_width": shape.text_width,
            "token_width": shape.token_width,
            "layer_widths": list(shape.layer_widths),
            "base": getattr(fitting_base(shape), "name", None),
        }
    config = _CONFIGS[part.network](part, where)
    if "head_width" in config:
        config["heads"] = config["width"] // config.pop("head_width")
    return config


def _fit(reports: tuple[NetworkReport, ...]) -> tuple[str | None, tuple[str, ...]]:
    details = next((report.details for report in reports if report.network == SAA), {})
    if not details or details["base"]:
        return (details.get("base"), ())
    supported = ", ".join(
        f"{base.name}: {len(base.layer_widths)} layers, text {base.text_width}" for base in SUPPORTED_BASES
    )
    note = (
        f"Fits no supported base model ({supported}): it has {details['layers']} layers of widths "
        f"{sorted(set(details['layer_widths']))}, text {details['text_width']}."
    )
    return None, (note,)


def _lacks(file: WeightFile, parts: Mapping[str, NetworkPart]) -> list[str]:
    """Networks that must come together and do not."""
    problems = [
        f"It holds {NETWORK_TITLES[here]} without the {NETWORK_TITLES[partner]}; an SAA file has both."
        for here, partner in ((SAA, PROJECTOR), (PROJECTOR, SAA))
        if here in parts and partner not in parts
    ]
    if SAA in parts and PROJECTOR in parts:
        try:
            check_saa(parts[SAA], projector_config(parts[PROJECTOR], file.path.name)["width"], file.path.name)
        except DynamicIDError as error:
            problems.append(_sentence(error))
    if IMR in parts and KEYPOINTS not in parts:
        try:
            find_partner(file.path)
        except DynamicIDError as error:
            problems.append(_sentence(error))
    return problems


def _sentence(error: DynamicIDError) -> str:
    return f"{error.found[:1].upper()}{error.found[1:]} {error.remedy}"
