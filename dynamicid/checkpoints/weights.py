"""Loads everything a DynamicID workflow needs from one or two weight files."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from ..errors import DynamicIDError
from ..models import IMR, FaceProjector, KeypointEncoder
from .files import open_weight_file
from .keys import IMR as IMR_PART
from .keys import IMR_IN_NAME, KEYPOINTS, OLDER_PREFIXES, PARTNER_NAMES, PROJECTOR, SAA
from .layout import NetworkPart, find_networks, require_network
from .networks import load_imr, load_keypoint_encoder, load_projector
from .saa import SAALayerWeights, load_saa
from .weight_file import PICKLE_SUFFIXES, SAFETENSORS_SUFFIX

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DynamicIDWeights:
    """Loaded networks, float32 on the CPU; the SAA layers keep the file's dtype.

    Attributes:
        projector: Face projector.
        saa_layers: Attention layers; the position is the index i of the weight file.
        imr: Identity-Motion Reconfigurator; None where no IMR file was given.
        keypoint_encoder: Its key-point encoder; None exactly where ``imr`` is.
        source: File names, for messages.
        uuid: Of these loaded networks; no other ones ever have it.
    """

    projector: FaceProjector
    saa_layers: tuple[SAALayerWeights, ...]
    imr: IMR | None
    keypoint_encoder: KeypointEncoder | None
    source: str
    uuid: UUID = field(default_factory=uuid4)

    def __repr__(self) -> str:
        return f"DynamicIDWeights({self.source!r})"


PathLike = str | os.PathLike[str]


def load_weights(
    saa_path: PathLike, imr_path: PathLike | None = None, keypoints_path: PathLike | None = None
) -> DynamicIDWeights:
    """Loads published or combined weight files.

    Args:
        saa_path: ``SAA.bin``, its safetensors version, or a combined file.
        imr_path: ``IMR.bin``, its safetensors version, or a combined file (the same one too); None = no IMR.
        keypoints_path: Key-point encoder; None = the partner beside ``imr_path``, or inside the combined file.

    Raises:
        DynamicIDError: With ``where`` "saa" or "imr": see ``open_weight_file``, ``find_networks``; networks that do not
            fit one another; an IMR without its key-point encoder.
    """
    parts = find_parts(saa_path, imr_path, keypoints_path)
    projector = load_projector(parts[PROJECTOR], "saa")
    saa_layers = load_saa(parts[SAA], projector.width, "saa")
    imr = load_imr(parts[IMR_PART], "imr") if IMR_PART in parts else None
    encoder = load_keypoint_encoder(parts[KEYPOINTS], "imr") if KEYPOINTS in parts else None
    if imr is not None and encoder is not None:
        _check_fit(projector, imr, encoder)
    names = dict.fromkeys(part.file.path.name for part in parts.values())
    return DynamicIDWeights(projector, saa_layers, imr, encoder, " + ".join(names))


def find_parts(
    saa_path: PathLike, imr_path: PathLike | None = None, keypoints_path: PathLike | None = None
) -> dict[str, NetworkPart]:
    """Opens the files and finds the networks without reading them. Arguments and errors as ``load_weights``."""
    saa_file = open_weight_file(saa_path, "saa")
    networks = find_networks(saa_file, "saa")
    parts = {name: require_network(networks, name, saa_file, "saa") for name in (PROJECTOR, SAA)}
    if parts[SAA].prefix in OLDER_PREFIXES:
        logger.info(
            "%s uses names that IP-Adapter FaceID Plus files share; taken for a DynamicID file",
            saa_file.path.name,
        )
    if imr_path is None:
        return parts
    imr_file = open_weight_file(imr_path, "imr")
    networks = find_networks(imr_file, "imr")
    parts[IMR_PART] = require_network(networks, IMR_PART, imr_file, "imr")
    if keypoints_path is None and KEYPOINTS in networks:
        parts[KEYPOINTS] = networks[KEYPOINTS]
        return parts
    partner = Path(keypoints_path) if keypoints_path is not None else find_partner(imr_file.path)
    partner_file = open_weight_file(partner, "imr")
    parts[KEYPOINTS] = require_network(find_networks(partner_file, "imr"), KEYPOINTS, partner_file, "imr")
    return parts


def find_partner(imr_path: Path) -> Path:
    """The key-point encoder that belongs to an IMR file: same name with IMR replaced, in the same folder.

    Raises:
        DynamicIDError: It is not there; the message names the file and the folder.
    """
    stem, suffix = imr_path.stem, imr_path.suffix
    named = IMR_IN_NAME.search(stem) is not None
    suffixes = [suffix, *(other for other in (*PICKLE_SUFFIXES, SAFETENSORS_SUFFIX) if other != suffix)]
    candidates = [
        imr_path.with_name((IMR_IN_NAME.sub(name, stem) if named else name) + ending)
        for ending in suffixes
        for name in PARTNER_NAMES
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise DynamicIDError(
        "imr",
        f"'{imr_path.name}' is an IMR without its key-point encoder: '{candidates[0].name}' is not in "
        f"'{imr_path.parent}'.",
        "Put that file into the same folder; 'python -m dynamicid download' fetches the published pair.",
    )


def _check_fit(projector: FaceProjector, imr: IMR, encoder: KeypointEncoder) -> None:
    if imr.token_width != projector.width:
        raise DynamicIDError(
            "imr",
            f"the IMR takes identity tokens of width {imr.token_width}, the face projector makes {projector.width}.",
            "Choose an IMR that was trained with this SAA file.",
        )
    if imr.motion_width <= encoder.out_width:
        raise DynamicIDError(
            "imr",
            f"the IMR takes motion of width {imr.motion_width}, which leaves no room for the face prompt beside the "
            f"key-point feature of width {encoder.out_width}.",
            "Choose the key-point encoder that was trained with this IMR.",
        )
