"""Finds the networks inside an opened file, whichever layout it has."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..errors import DynamicIDError
from .keys import (
    BARE_MARKERS,
    FORMAT_METADATA,
    IMR,
    KEYPOINTS,
    NETWORK_PREFIXES,
    NETWORK_TITLES,
    OLDER_PREFIXES,
    PROJECTOR,
    SAA,
    UNRELATED_MODELS,
)
from .weight_file import NOT_WEIGHTS, TensorEntry, WeightFile, quoted


@dataclass(frozen=True)
class NetworkPart:
    """One network inside a file. ``prefix`` + key = the file's own name of a tensor; ``network`` as in ``keys``."""

    file: WeightFile
    network: str
    prefix: str
    entries: Mapping[str, TensorEntry]

    @property
    def title(self) -> str:
        """ "the IMR in 'IMR.bin'"."""
        return f"the {NETWORK_TITLES[self.network]} in '{self.file.path.name}'"

    def read(self, where: str) -> dict[str, Tensor]:
        """All its tensors under their own keys, NaN-checked, in the file's dtype."""
        names = [self.prefix + key for key in self.entries]
        return {name[len(self.prefix) :]: tensor for name, tensor in self.file.read(names, where).items()}


def counted(names: list[str]) -> str:
    """ "1 tensor" or "5 tensors"."""
    return "1 tensor" if len(names) == 1 else f"{len(names)} tensors"


def listed(names: list[str], most: int = 5) -> str:
    """The first few names in quotes, and how many more there are."""
    text = ", ".join(quoted(name) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def find_networks(file: WeightFile, where: str) -> dict[str, NetworkPart]:
    """The networks of ``file`` by their names in ``keys``.

    Raises:
        DynamicIDError: No network of DynamicID, another kind of model, or tensors that belong to none.
    """
    if not file.entries:
        raise DynamicIDError(where, f"'{file.path.name}' holds no tensors at all.", NOT_WEIGHTS)
    _check_version(file, where)
    parts: dict[str, NetworkPart] = {}
    claimed: set[str] = set()
    for network, prefixes in NETWORK_PREFIXES.items():
        for prefix in prefixes:
            names = [name for name in file.entries if name.startswith(prefix)]
            if names and network in parts:
                raise DynamicIDError(
                    where,
                    f"'{file.path.name}' holds the {NETWORK_TITLES[network]} twice, under "
                    f"'{parts[network].prefix}' and '{prefix}'.",
                    NOT_WEIGHTS,
                )
            if names:
                entries = {name[len(prefix) :]: file.entries[name] for name in names}
                parts[network] = NetworkPart(file, network, prefix, entries)
                claimed.update(names)
    if not parts:
        return _find_bare(file, where)
    _refuse_ip_adapter(file, parts, where)
    leftover = [name for name in file.entries if name not in claimed]
    if leftover:
        raise DynamicIDError(
            where,
            f"'{file.path.name}' holds {counted(leftover)} of no DynamicID network: {listed(leftover)}.",
            NOT_WEIGHTS,
        )
    return parts


def layout_name(parts: Mapping[str, NetworkPart]) -> str:
    """What the layout is called, in words."""
    prefixes = [part.prefix for part in parts.values()]
    if "" in prefixes:
        return f"published {NETWORK_TITLES[next(iter(parts))]}"
    if any(prefix in OLDER_PREFIXES for prefix in prefixes):
        return "SAA, older training output"
    if "proj_module." in prefixes or "SAA_module." in prefixes:
        return "published SAA"
    return "combined DynamicID file"


def _find_bare(file: WeightFile, where: str) -> dict[str, NetworkPart]:
    for network, marker in BARE_MARKERS.items():
        if any(marker.match(name) for name in file.entries):
            return {network: NetworkPart(file, network, "", file.entries)}
    raise DynamicIDError(
        where,
        f"'{file.path.name}' is no DynamicID weight file: {_looks_like(file)}.",
        NOT_WEIGHTS,
    )


def _looks_like(file: WeightFile) -> str:
    for kind, pattern in UNRELATED_MODELS:
        if any(pattern.match(name) for name in file.entries):
            return f"it looks like {kind} (it holds {listed(list(file.entries), 2)})"
    return f"none of its tensors is known ({listed(list(file.entries))})"


def _refuse_ip_adapter(file: WeightFile, parts: Mapping[str, NetworkPart], where: str) -> None:
    """IP-Adapter files share the older names, but have another projector or no LoRA in every layer."""
    projector, saa = parts.get(PROJECTOR), parts.get(SAA)
    older = any(part.prefix in OLDER_PREFIXES for part in parts.values())
    other_projector = projector is not None and not any("perceiver_resampler." in key for key in projector.entries)
    other_layers = saa is not None and not any("_lora." in key for key in saa.entries)
    if older and (other_projector or other_layers):
        raise DynamicIDError(
            where,
            f"'{file.path.name}' is no DynamicID weight file: it looks like an IP-Adapter or InstantID file.",
            NOT_WEIGHTS,
        )


def _check_version(file: WeightFile, where: str) -> None:
    kind, version = file.metadata.get("format"), file.metadata.get("version")
    if kind == FORMAT_METADATA["format"] and version != FORMAT_METADATA["version"]:
        raise DynamicIDError(
            where,
            f"'{file.path.name}' is a DynamicID file of version {quoted(version)}; this pack reads version 1.",
            "Update the pack, or convert the published files again.",
        )
    if kind == "dynamicid-face":
        raise DynamicIDError(
            where, f"'{file.path.name}' is a saved face, not a weight file.", "Open it with the Load Face node."
        )


def require_network(parts: Mapping[str, NetworkPart], network: str, file: WeightFile, where: str) -> NetworkPart:
    """The part called ``network``.

    Raises:
        DynamicIDError: The file lacks it; the message says what it holds.
    """
    if network in parts:
        return parts[network]
    held = " and ".join(f"the {NETWORK_TITLES[name]}" for name in parts)
    hint = "Choose SAA.bin (or a converted file) here" if network in (PROJECTOR, SAA) else "Choose IMR.bin here"
    if network in (PROJECTOR, SAA) and (IMR in parts or KEYPOINTS in parts) and PROJECTOR not in parts:
        hint += "; this file belongs at the input 'imr'" if IMR in parts else ""
    raise DynamicIDError(where, f"'{file.path.name}' holds {held}, but no {NETWORK_TITLES[network]}.", f"{hint}.")
