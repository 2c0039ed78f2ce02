"""Captions for photos of stage 1, behind one interface: from a vision-language model, or from templates.

A caption should describe everything except the identity (docs/training.md, Requirements). Templates only know the face:
its size and place in the picture, the head's pose, and that it is one person.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from ..errors import DynamicIDError
from ..faces.encoding import FaceDetector
from ..faces.prompts import describe_pose
from ..files.atomic import write_text
from ..files.folders import find_files
from ..files.pictures import PHOTO_SUFFIXES, read_picture
from ..files.skipped import BadSample, Skipped
from .inputs import text_beside

QUESTION = (
    "Describe this photo in one sentence: what the person does and wears, the place, the light and the expression. "
    "Leave out age, hair and facial features."
)
"""For models that answer questions; others caption as they were trained."""
MOST_TOKENS = 75
"""CLIP's text encoder reads 77 with both ends."""
CLOSE, FAR = 0.4, 0.15
"""Heights of a face as shares of the picture's: a photo is a close-up from the first on, and small below the second."""
ASIDE = 1 / 6
"""Distance of a face from the middle, as a share of the picture's width, from which on it is named."""


class Captioner(Protocol):
    """Writes a caption for a picture."""

    def caption(self, image: np.ndarray) -> str:
        """A sentence about an RGB uint8 picture (height, width, 3). Raises BadSample: It cannot be described."""
        ...


class TemplateCaptioner:
    """Describes size, place and pose of the only face. ``analyzer``: finds it."""

    def __init__(self, analyzer: FaceDetector) -> None:
        self._analyzer = analyzer

    def caption(self, image: np.ndarray) -> str:
        """ "a small person on the left, in side view" and the like. Raises BadSample: not one face."""
        faces = self._analyzer.detect(image)
        if len(faces) != 1:
            raise BadSample(f"{len(faces)} faces" if faces else "no face")
        left, top, right, bottom = faces[0].box_xyxy
        size, middle = (bottom - top) / image.shape[0], (left + right) / 2 / image.shape[1] - 0.5
        subject = "close-up photo of a person" if size >= CLOSE else "photo of a person"
        if size < FAR:
            subject = "photo of a small person"
        place = "" if abs(middle) < ASIDE else " on the left" if middle < 0 else " on the right"
        pitch, yaw, _ = faces[0].pose
        return f"{subject}{place}, {describe_pose(float(pitch), float(yaw))}"


class ModelCaptioner:
    """A vision-language model in a transformers folder, such as BLIP, LLaVA or Qwen-VL.

    Args:
        folder: Of the model; nothing is downloaded.
        device: Where it runs.

    Raises:
        DynamicIDError: transformers cannot load it.
    """

    def __init__(self, folder: Path, device: Any) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            self._processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
            model: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype="auto")
        except (OSError, ValueError, KeyError, ImportError) as error:
            found = f"transformers cannot load '{folder}' ({str(error).strip().splitlines()[0]})."
            remedy = "Name the folder of a model that makes text of images, or leave it out for templates."
            raise DynamicIDError("--model", found, remedy) from error
        self._model = model.to(device).train(False)

    @torch.no_grad()
    def caption(self, image: np.ndarray) -> str:
        """The most likely sentence. Raises BadSample: It is empty."""
        picture, text = Image.fromarray(image), {}
        if getattr(self._processor, "chat_template", None):
            content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
            message = [{"role": "user", "content": content}]
            text = {"text": self._processor.apply_chat_template(message, add_generation_prompt=True)}
        inputs = self._processor(images=picture, return_tensors="pt", **text).to(self._model.device, self._model.dtype)
        tokens = self._model.generate(**inputs, max_new_tokens=MOST_TOKENS, do_sample=False)
        asked = inputs["input_ids"].shape[1] if text else 0
        caption = " ".join(self._processor.batch_decode(tokens[:, asked:], skip_special_tokens=True)[0].split())
        if not caption:
            raise BadSample("the model says nothing")
        return caption


def write_captions(
    folder: Path, captioner: Captioner, overwrite: bool, track: Callable[[list[Path]], Iterator[Path]] = iter
) -> tuple[int, list[Skipped]]:
    """Writes ``<photo>.txt`` beside every photo of a folder and its subfolders that has none.

    Args:
        folder: Of the photos.
        captioner: Writes the captions.
        overwrite: Whether earlier texts are replaced.
        track: Hands the photos on, and shows the progress.

    Returns:
        Number of captions written, and the photos that got none.

    Raises:
        DynamicIDError: No such folder, or a file cannot be written.
    """
    if not folder.is_dir():
        raise DynamicIDError("FOLDER", f"'{folder}' is no folder.", "Name the folder of your photos.")
    photos = [path for path, reason in find_files(folder, PHOTO_SUFFIXES) if not reason]
    skipped, count = [], 0
    for path in track([path for path in photos if overwrite or not text_beside(path).exists()]):
        try:
            caption = captioner.caption(read_picture(path))
        except BadSample as error:
            skipped.append(Skipped(path.relative_to(folder).as_posix(), str(error)))
            continue
        write_text(text_beside(path) if text_beside(path).exists() else path.with_suffix(".txt"), caption + "\n")
        count += 1
    return count, skipped
