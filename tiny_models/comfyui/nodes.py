"""The loader of the tiny models."""

from pathlib import Path

import folder_paths
from comfy_api.latest import ComfyExtension, io

from .networks import load_clip, load_model, load_vae, load_vision

KIND = "tiny_models"
COMMITTED = Path(__file__).resolve().parents[1] / "weights"


def weights_folder() -> Path:
    """The folder that holds ``base`` and ``clip_vision``.

    Raises:
        FileNotFoundError: There is none.
    """
    named = folder_paths.get_folder_paths(KIND) if KIND in folder_paths.folder_names_and_paths else []
    for folder in [*map(Path, named), COMMITTED]:
        if (folder / "base" / "unet" / "config.json").is_file():
            return folder
    raise FileNotFoundError(f"There is no base/unet in {[*named, str(COMMITTED)]}. Clone the complete repository.")


class DrawnFamilyLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DrawnFamilyLoader",
            display_name="Load Tiny Models",
            category="DynamicID/tiny models",
            # The host counts 8 pixels a latent cell, this autoencoder has 4.
            description="Loads a small Stable Diffusion of drawn people. Its pictures have half the width and height "
            "that Empty Latent Image says: ask for 256 x 256 to get the 128 x 128 it was trained on.",
            inputs=[],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output(), io.ClipVision.Output()],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        folder = weights_folder()
        base = folder / "base"
        return io.NodeOutput(load_model(base), load_clip(base), load_vae(base), load_vision(folder / "clip_vision"))


class TinyModelsExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [DrawnFamilyLoader]
