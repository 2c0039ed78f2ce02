"""A ComfyUI extension that loads the tiny models' base model: link this folder into custom_nodes to open its graphs.

The weights lie in the repository, or where ``extra_model_paths.yaml`` says for ``tiny_models``.
"""


async def comfy_entrypoint():
    """The extension with its one node."""
    from .nodes import TinyModelsExtension

    return TinyModelsExtension()
