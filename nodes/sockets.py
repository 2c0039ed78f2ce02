"""What arrives at the sockets of a node: the host checks the types of links, but passes constants of any kind on."""

import functools
from typing import Any

from comfy_api.latest import io

from ..dynamicid.checkpoints.weights import DynamicIDWeights
from ..dynamicid.errors import DynamicIDError
from ..dynamicid.faces.crops import Crops
from ..dynamicid.faces.encoding import FaceDetector
from ..dynamicid.faces.face import Face
from ..dynamicid.faces.motion import Motion
from ..dynamicid.faces.regions import Region
from ..dynamicid.host.recorder import ActivationRecord

_OWN: dict[str, type] = {
    "DYNAMICID": DynamicIDWeights,
    "FACE_ANALYSIS": FaceDetector,
    "DYNAMICID_FACE": Face,
    "DYNAMICID_MOTION": Motion,
    "DYNAMICID_REGIONS": Region,
    "DYNAMICID_ACTIVATION": ActivationRecord,
    "DYNAMICID_CROPS": Crops,
}
_PLAIN = ("BOUNDING_BOX", "FACE_LANDMARKS")
"""Types of the host that hold plain values, which the nodes check themselves."""
_MAY_LACK = ("CLIP", "CLIP_VISION")
"""Loaders of the host give None where a checkpoint has no such part; the nodes say so."""


def check_sockets(node: type[io.ComfyNode]) -> None:
    """Makes a node refuse whatever is not of a socket's type."""
    execute: Any = node.execute.__func__

    @functools.wraps(execute)
    def checked(cls: type[io.ComfyNode], **inputs: Any) -> io.NodeOutput:
        schema: Any = cls.SCHEMA
        for socket in schema.inputs:
            if isinstance(socket, io.WidgetInput) or socket.id not in inputs:
                continue
            value = inputs[socket.id]
            for item in value if schema.is_input_list and isinstance(value, list) else [value]:
                if item is not None or not socket.optional:
                    _check(socket.id, socket.get_io_type(), item)
        return execute(cls, **inputs)

    node.execute = classmethod(checked)


def _check(where: str, io_type: str, value: Any) -> None:
    own = _OWN.get(io_type)
    if own is None:
        is_lacking = value is None and io_type not in _MAY_LACK
        is_right = io_type in _PLAIN or not (is_lacking or isinstance(value, str | int | float | list | dict))
    elif own is Region:
        is_right = isinstance(value, tuple) and all(isinstance(item, Region) for item in value)
    else:
        is_right = isinstance(value, own)
    if not is_right:
        found = f"There is a value of type {type(value).__name__} instead of {io_type}."
        raise DynamicIDError(where, found, f"Connect an output of type {io_type}.")
