"""Reading photos in worker processes: decoding, face analysis, and what the networks want of a photo."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..errors import DynamicIDError
from ..faces.analysis import load_face_analysis
from ..faces.detected import DetectedFace
from ..faces.drawing import portrait_crop_box
from ..faces.encoding import FaceDetector, cut_out
from ..files.skipped import BadSample, Skipped
from ..pipeline.preprocessing import clip_pixels
from ..pipeline.stable_diffusion import clip_vision_size
from .config import BaseSection, IMRConfig, SAAConfig
from .processes import ignore_stop_signals, process_share, process_state
from .shards import Noticed

SMALLEST_FACE = 60 / 512
"""Height of a face as a share of the picture's shortest side, below which ``cache`` counts it."""
PHOTOS_PER_WORKER = 64
"""Fewer do not pay for starting a process."""
PHOTOS_AHEAD = 8
"""Photos that a worker reads before they are asked for."""


def open_analyzer(section: BaseSection, threads: int | None = None, device: int = 0) -> FaceDetector:
    """The face networks of ``base.face_pack``. Raises DynamicIDError: not configured, or incomplete."""
    if section.face_pack is None:
        raise DynamicIDError("base.face_pack", "It is missing.", "Name the folder of buffalo_l's ONNX files.")
    return load_face_analysis(section.face_pack, threads=threads, device=device)


class PhotoReader:
    """What both stages' readers share. Worker processes get copies, and open the face networks at first use.

    Args:
        config: Of either stage.
        analyzer: Replaces the face networks of ``base.face_pack``.
    """

    def __init__(self, config: SAAConfig | IMRConfig, analyzer: FaceDetector | None = None) -> None:
        self.config, self._analyzer = config, analyzer
        self.workers = config.data.workers
        self._device, self._processors = process_share(process_state())

    def __call__(self, path: Path) -> Any:
        """What ``read`` returns, Skipped if the photo cannot be used, or an error of the configuration."""
        try:
            return self.read(path)
        except BadSample as error:
            return Skipped(self.name_of(path), str(error))
        except DynamicIDError as error:
            return error

    def read(self, path: Path) -> Any:
        """What the networks want of a photo. Raises BadSample: It cannot be used."""
        raise NotImplementedError

    def name_of(self, path: Path) -> str:
        """The photo's path in the data folder."""
        return path.relative_to(self.config.data.folder).as_posix()

    @cached_property
    def analyzer(self) -> FaceDetector:
        """The face networks, on this process's device with its share of the processors."""
        threads = max(1, self._processors // max(1, self.workers))
        return self._analyzer or open_analyzer(self.config.base, threads, self._device)

    @cached_property
    def vision_size(self) -> int:
        """Side of the image encoder's input in pixels."""
        return clip_vision_size(self.config.base.clip_vision)

    def only_face(self, image: np.ndarray) -> DetectedFace:
        """The only face of a picture. Raises BadSample: no face, or several."""
        faces = self.analyzer.detect(image)
        if len(faces) != 1:
            raise BadSample(f"{len(faces)} faces" if faces else "no face")
        return faces[0]

    def notice(self, path: Path, image: np.ndarray, face: DetectedFace | None) -> list[Noticed]:
        """Whether a picture (height, width, 3) is enlarged, and whether its face is small."""
        side, noticed = min(image.shape[:2]), []
        if side < self.config.data.size:
            noticed.append(Noticed(self.name_of(path), f"picture enlarged to {self.config.data.size} px"))
        if face is not None and face.box_xyxy[3] - face.box_xyxy[1] < SMALLEST_FACE * side:
            noticed.append(Noticed(self.name_of(path), "face below 60 px of 512"))
        return noticed

    def mirrored(
        self, path: Path, image: np.ndarray, noticed: list[Noticed]
    ) -> Iterator[tuple[np.ndarray, DetectedFace]]:
        """With ``data.flip`` the mirrored picture and its face; adds to ``noticed`` if that is not found there."""
        if self.config.data.flip:
            mirrored = np.ascontiguousarray(image[:, ::-1])
            try:
                face = self.only_face(mirrored)
            except BadSample as error:
                noticed.append(Noticed(self.name_of(path), f"{error} once mirrored"))
                return
            yield mirrored, face

    def reference_pixels(self, image: np.ndarray, face: DetectedFace) -> Tensor:
        """The image encoder's input for a face in a picture (height, width, 3): see ``data.reference``.

        Returns:
            (3, vision_size, vision_size), CLIP-normalised.
        """
        if self.config.data.reference == "portrait":
            image = cut_out(image, portrait_crop_box(face.box_xyxy, *image.shape[:2]))
        return clip_pixels(image, self.vision_size)


def read_photos(paths: Sequence[Path], reader: PhotoReader) -> Iterator[Any]:
    """What ``reader`` makes of each photo, in order, read ahead by ``data.workers`` processes.

    Raises:
        DynamicIDError: An error of the configuration.
    """
    reader.workers = min(reader.workers, len(paths) // PHOTOS_PER_WORKER)
    results: Any = map(reader, paths)
    if reader.workers:
        # Forked processes could not use the GPU that this one has begun to use.
        results = DataLoader(
            _Photos(paths, reader),
            batch_size=None,
            num_workers=reader.workers,
            collate_fn=_as_it_is,
            prefetch_factor=PHOTOS_AHEAD,
            multiprocessing_context="spawn",
            worker_init_fn=ignore_stop_signals,
        )
    for result in results:
        if isinstance(result, DynamicIDError):
            raise result
        yield result


class _Photos(Dataset[Any]):
    def __init__(self, paths: Sequence[Path], reader: PhotoReader) -> None:
        self.paths, self.reader = [os.fspath(path) for path in paths], reader

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        return self.reader(Path(self.paths[index]))


def _as_it_is(result: Any) -> Any:
    return result
