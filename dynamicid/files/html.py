"""Reports as single HTML files: templates, and pictures inside the page."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image


def render_template(template: Path, **values: Any) -> str:
    """A Jinja template, filled in; it may include others of its folder."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(template.parent), autoescape=True)
    return environment.get_template(template.name).render(**values)


def picture_url(picture: Image.Image, side: int) -> str:
    """A picture as a JPEG in a data URL, at most ``side`` pixels a side."""
    small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
