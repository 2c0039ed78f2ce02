"""A ComfyUI extension that loads the drawn family's base model: link this folder into custom_nodes to open its graphs.

The family lies in the repository, or where ``extra_model_paths.yaml`` says for ``drawn_family``.
"""


async def comfy_entrypoint():
    """The extension with its one node."""
    from .nodes import FamilyExtension

    return FamilyExtension()
