"""DynamicID for ComfyUI. ComfyUI calls ``comfy_entrypoint``; nothing is imported before it does."""

import logging

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """The extension with all nodes. An error at import is logged whole: the host shows only its first line."""
    try:
        from .nodes import DynamicIDExtension
    except Exception:
        logging.getLogger(__name__).exception("DynamicID could not be loaded")
        raise
    return DynamicIDExtension()
