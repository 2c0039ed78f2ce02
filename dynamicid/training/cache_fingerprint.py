"""Which networks a cache was made with, told by their content: a cache of other ones would train silently wrong."""

from pathlib import Path

from ..checkpoints.content import digest_of_networks
from ..errors import DynamicIDError
from .config import BaseSection
from .shards import ShardSet

ENCODERS = ("text_encoder", "vae")
"""What of a diffusers folder ``cache`` uses; its UNet may change."""


def networks_of(base: BaseSection, saa: Path | None = None) -> dict[str, str]:
    """Digests by the setting that names the network; "" where none is named or none is there.

    Args:
        base: Of the configuration.
        saa: The trained stage 1 file, for stage 2.
    """
    is_folder = base.model.is_dir()
    encoders = [base.model / part for part in ENCODERS] if is_folder else [base.model]
    named = {"base.model": encoders, "base.clip_vision": [base.clip_vision], "base.face_pack": [base.face_pack]}
    if saa is not None:
        named["model.saa"] = [saa]
    return {name: digest_of_networks([path for path in paths if path]) for name, paths in named.items()}


def check_made_with(shards: ShardSet, base: BaseSection, saa: Path | None = None) -> None:
    """Compares what training uses with what the cache was made with.

    Raises:
        DynamicIDError: Text encoder and autoencoder, or the stage 1 file, have changed since.
    """
    made_with = shards.about["settings"].get("networks", {})
    used = networks_of(BaseSection(model=base.model), saa)
    for name, digest in used.items():
        known = made_with.get(name)
        if digest and known and known != digest:
            raise DynamicIDError(
                name,
                f"The cache in '{shards.paths[0].parent}' was made with another one.",
                "Run 'python -m dynamicid cache' again with this configuration.",
            )
