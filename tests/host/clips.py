"""Video files for tests, written and read with PyAV, which ComfyUI brings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest


def write_clip(path: Path, frames: Sequence[np.ndarray], rate: int) -> str:
    """Frames (height, width, 3) uint8 RGB, even sides, as H.264 with ``rate`` frames a second; the file's name."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("h264", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return path.name


def read_clip(path: Path) -> np.ndarray:
    """(frames, height, width, 3) in 0..255."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).astype(np.float32)
