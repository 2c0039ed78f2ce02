"""What the pack's canvas widgets ask the server for. Ids and numbers come in, never a path; nothing is changed.

- ``POST /dynamicid/motion``: {"id", "sliders", "neutralise", "frame"} -> landmarks before and after, pose, face prompt
  and the number of frames.
- ``GET /dynamicid/presets``: slider values of the expressions and poses that are one click away, and which landmarks
  a drawing joins with lines.
- ``GET /dynamicid/people/{id}``: a person's crop as PNG, which no browser stores.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler
from torch import Tensor

from ..faces.landmark_layout import OUTLINES
from ..faces.motion import Motion, numbered_prompt
from ..faces.motion_sliders import EXPRESSIONS, POSES, RANGES, average_motion, move, sliders_from
from . import previews
from .server import running_server

_PACK = Path(__file__).absolute().parents[2]
_LARGEST_BODY = 4096
_ID = re.compile(r"[0-9a-f]{32}")
_NOT_STORED = {"Cache-Control": "no-store"}
_FIELDS = {"id", "sliders", "neutralise", "frame"}


def register_routes() -> None:
    """Adds the routes to the running server; without one (a script that only loads nodes) there is nothing to do."""
    server = running_server()
    if server is None:
        return
    server.app.middlewares.append(_forget_with_history)
    server.routes.post("/dynamicid/motion")(_motion)
    server.routes.get("/dynamicid/presets")(_presets)
    server.routes.get("/dynamicid/people/{id}")(_crop)
    if quote(_PACK.name) != _PACK.name and not set("{}") & set(_PACK.name):
        # aiohttp 3.14 finds no static file below a prefix with a space or an umlaut: such a folder needs own routes.
        for prefix, folder in (("/extensions", "web"), ("/workflow_templates", "workflows")):
            path = f"{prefix}/{{pack:{re.escape(_PACK.name)}}}/{{path:.+}}"
            server.routes.get(path)(partial(_file, _PACK.resolve() / folder))


@web.middleware
async def _forget_with_history(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Crops end when the history is cleared or memory is freed; ``/free`` itself waits for the queue."""
    response = await handler(request)
    if request.method == "POST" and request.path.removeprefix("/api") in ("/history", "/free"):
        previews.forget_crops()
    return response


async def _file(folder: Path, request: web.Request) -> web.FileResponse:
    # ValueError: a null character; OSError: a name too long for the file system.
    with suppress(ValueError, OSError):
        file = (folder / request.match_info["path"]).resolve()
        if file.is_relative_to(folder) and file.is_file():
            return web.FileResponse(file)
    raise web.HTTPNotFound


async def _motion(request: web.Request) -> web.Response:
    body = await _body(request)
    if body is None:
        return _error(413, f"A request of more than {_LARGEST_BODY} bytes is refused.")
    try:
        return web.json_response(moved(body), headers=_NOT_STORED)
    except LookupError as error:
        return _error(404, str(error.args[0]))
    except ValueError as error:
        return _error(400, str(error))


async def _presets(_: web.Request) -> web.Response:
    return web.json_response(presets())


async def _crop(request: web.Request) -> web.Response:
    name = request.match_info["id"]
    kept = previews.find(name) if _ID.fullmatch(name) else None
    if kept is None or kept.png is None:
        return _error(404, "There is no such person; run the graph again.")
    return web.Response(body=kept.png, content_type="image/png", headers=_NOT_STORED)


def presets() -> dict[str, Any]:
    """``expressions`` and ``poses``: preset name -> value of every slider it sets, in the order of the buttons.
    ``outlines``: rows of landmark numbers to join.
    """
    expressions = {word: vars(preset) for word, preset in EXPRESSIONS.items()}
    return {"expressions": expressions, "poses": POSES, "outlines": OUTLINES}


def moved(body: bytes) -> dict[str, Any]:
    """The answer to a request for a moved motion.

    Args:
        body: JSON: ``id`` of a kept motion or "" for the average face; ``sliders`` name -> value; ``neutralise``;
            ``frame``, counted from 0, the first where it is not given.

    Returns:
        ``before`` and ``after``, 106 pairs of x and y in pixels of the 512 x 512 image; ``pose``; ``prompt``, with the
            frame's number where there are several; ``frames``, their number.

    Raises:
        ValueError: The request is not of this form, or a value is out of range.
        LookupError: Nothing is kept under that id, or it has no such frame.
    """
    request = _parsed(body)
    motion, frame = _start(request.get("id", "")), request.get("frame", 0)
    if frame >= motion.frame_count:
        raise LookupError(f"There is no frame {frame}; the motion has {motion.frame_count}.")
    before = motion.frame(frame)
    after = move(before, sliders_from(request.get("sliders", {}), request.get("neutralise", False)))
    return {
        "before": _rounded(before.landmarks_106),
        "after": _rounded(after.landmarks_106),
        "pose": _rounded(after.pose),
        "prompt": numbered_prompt(after.prompt, motion.frame_count, frame),
        "frames": motion.frame_count,
    }


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except RecursionError as error:
        raise ValueError("The request is nested too deeply.") from error
    if not isinstance(request, dict) or not set(request) <= _FIELDS:
        raise ValueError(f"Expected an object with {', '.join(sorted(_FIELDS))}.")
    sliders, name, frame = request.get("sliders", {}), request.get("id", ""), request.get("frame", 0)
    if not isinstance(name, str) or (name and not _ID.fullmatch(name)):
        raise ValueError("`id` is no id.")
    if not isinstance(request.get("neutralise", False), bool):
        raise ValueError("`neutralise` is neither true nor false.")
    if isinstance(frame, bool) or not isinstance(frame, int) or frame < 0:
        raise ValueError("`frame` is no number of a frame.")
    if not isinstance(sliders, dict) or len(sliders) > len(RANGES):
        raise ValueError("`sliders` is no object of slider values.")
    for slider, value in sliders.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"The value of the slider {slider[:40]!r} is no number.")
    return request


def _start(name: str) -> Motion:
    if not name:
        return average_motion()
    kept = previews.find(name)
    if kept is None or kept.motion is None:
        raise LookupError("There is no such motion; run the graph again.")
    return kept.motion


def _rounded(values: Tensor) -> list[Any]:
    return values.double().numpy().round(1).tolist()


async def _body(request: web.Request) -> bytes | None:
    """The body, or None where it is too large; no more than that is read."""
    if (request.content_length or 0) > _LARGEST_BODY:
        return None
    body = b""
    while chunk := await request.content.read(_LARGEST_BODY + 1 - len(body)):
        body += chunk
        if len(body) > _LARGEST_BODY:
            return None
    return body


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
