"""DynamicID for users of diffusers: photos of people in, pictures of them out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from ..attention.people import WHOLE_PICTURE, places_of
from ..checkpoints.weights import DynamicIDWeights, load_weights
from ..errors import DynamicIDError
from ..faces import editing
from ..faces.analysis import load_face_analysis
from ..faces.crops import Crops, cut_people, paste_people, resize
from ..faces.detected import choose_faces
from ..faces.emotions import EmotionReader, load_emotion_reader
from ..faces.encoding import FaceDetector, Portrait, encode_portraits, read_portrait
from ..faces.face import Face
from ..faces.matching import MATCHES, assign_faces
from ..faces.motion import Motion
from ..faces.regions import Region, person_prompts, stacked_embeddings
from ..files.pictures import to_rgb
from .painter import Painted, Painter, PaintSettings, PictureRequest
from .preprocessing import clip_pixels
from .stable_diffusion import StableDiffusion, encode_text, load_base, load_clip_vision, vision_states
from .weight_export import saa_state_dict

Photo = Image.Image | np.ndarray
"""A PIL picture of any mode (read as ``files.pictures.to_rgb``), or (height, width, 3) uint8 RGB."""


class DynamicIDPipeline:
    """Stable Diffusion 1.5 with DynamicID: what the ComfyUI nodes do, with diffusers.

    ``encode_face`` is Encode Face, ``motion_from_photo`` is Motion from Image, ``edit_face`` is Edit Face, and a call
    is Apply DynamicID with KSampler (``ddim``, ``ddim_uniform``) behind it. See docs/diffusers.md for an example.

    Args:
        base: The base model. It is left as it is; the SAA layers go into a copy of its UNet.
        image_encoder: CLIP ViT-H/14.
        weights: The DynamicID networks; without an IMR, ``edit_face`` is not available.
        face_detector: InsightFace's networks.
        emotion_reader: Names the expression of a photo; None = neutral.
        dtype: Number format of the UNet.
    """

    def __init__(
        self,
        base: StableDiffusion,
        image_encoder: CLIPVisionModelWithProjection,
        weights: DynamicIDWeights,
        face_detector: FaceDetector,
        emotion_reader: EmotionReader | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.base, self.image_encoder, self.weights = base, image_encoder, weights
        self.face_detector, self.emotion_reader, self.dtype = face_detector, emotion_reader, dtype

    @classmethod
    def from_files(
        cls,
        base: Path,
        image_encoder: Path,
        saa: Path,
        face_pack: Path,
        imr: Path | None = None,
        tokenizer: Path | None = None,
        emotion: Path | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> DynamicIDPipeline:
        """Loads everything from local files.

        Args:
            base: diffusers folder or checkpoint file of a Stable Diffusion 1.5 model.
            image_encoder: transformers folder, or the weight file of CLIP ViT-H/14.
            saa: ``SAA.bin``, its safetensors version, or a combined file.
            face_pack: Folder of InsightFace's ONNX files (buffalo_l).
            imr: ``IMR.bin``, its safetensors version, or a combined file; None = faces are not edited.
            tokenizer: CLIP-L tokenizer folder; needed where ``base`` is a checkpoint file.
            emotion: ONNX file of an emotion network.
            device: Of all networks but InsightFace's, which choose their own.
            dtype: Number format of the UNet.

        Raises:
            DynamicIDError: A file is missing or of another kind.
        """
        parts, encoder, weights = load_base(base, tokenizer), load_clip_vision(image_encoder), load_weights(saa, imr)
        networks = (parts.unet, parts.vae, parts.text_encoder, encoder, weights.projector)
        for network in (*networks, weights.imr, weights.keypoint_encoder):
            if network is not None:
                network.to(device)  # pyright: ignore[reportArgumentType]
        reader = None if emotion is None else load_emotion_reader(emotion)
        return cls(parts, encoder, weights, load_face_analysis(face_pack), reader, dtype)

    @cached_property
    def painter(self) -> Painter:
        """The base model with the SAA layers of ``weights``."""
        return Painter(self.base, saa_state_dict(self.weights), self.dtype)

    @cached_property
    def base_painter(self) -> Painter:
        """The base model without DynamicID."""
        return Painter(self.base, None, self.dtype)

    @cached_property
    def _zero_states(self) -> Tensor:
        """(1, 257, 1280): hidden states of an all-zero normalised pixel tensor."""
        return vision_states(self.image_encoder, torch.zeros(1, 3, self._image_size, self._image_size))

    @property
    def _image_size(self) -> int:
        return int(self.image_encoder.config.image_size)  # pyright: ignore[reportArgumentType]

    def encode_face(
        self, photos: Photo | Sequence[Photo], pick: str = "largest", index: int = 0, crop: bool = True
    ) -> Face:
        """One person from one or more photos: tokens and embeddings are averaged.

        Args:
            photos: Of the same person. Landmarks, pose and emotion are the first photo's.
            pick: Order of the faces in a photo, one of ``faces.detected.PICKS``.
            index: Position in this order, from 0.
            crop: Whether the image encoder sees a portrait crop instead of the whole photo.

        Raises:
            DynamicIDError: No such face in a photo.
        """
        several = [photos] if isinstance(photos, Image.Image | np.ndarray) else photos
        return self.encode_portraits(self.read_portraits(several, pick, index, crop))

    def read_portraits(
        self, photos: Sequence[Photo], pick: str = "largest", index: int = 0, crop: bool = True
    ) -> list[Portrait]:
        """The first half of ``encode_face``: the faces are found and their motion read."""
        pictures = [to_rgb(photo) if isinstance(photo, Image.Image) else photo for photo in photos]
        faces = choose_faces([self.face_detector.detect(picture) for picture in pictures], pick, index, "photos")
        return [
            read_portrait(self.face_detector, picture, face, crop, self.emotion_reader)
            for picture, face in zip(pictures, faces, strict=True)
        ]

    def encode_portraits(self, portraits: Sequence[Portrait]) -> Face:
        """The second half of ``encode_face``: CLIP and the projector."""
        pixels = torch.stack([clip_pixels(portrait.picture, self._image_size) for portrait in portraits])
        states = vision_states(self.image_encoder, pixels)
        return encode_portraits(self.weights.projector, portraits, states, self._zero_states)

    def motion_from_photo(self, photo: Photo, pick: str = "largest", index: int = 0) -> Motion:
        """Expression and head pose of a face, of whomever: a target for ``edit_face``. Arguments as ``encode_face``."""
        return self.read_portraits([photo], pick, index)[0].motion

    def edit_face(
        self,
        face: Face,
        target_prompt: str = "",
        source_prompt: str = "",
        motion: Motion | None = None,
        strength: float = 1.0,
    ) -> Face:
        """The same person with another expression or head pose.

        Args:
            face: From ``encode_face``.
            target_prompt: Face prompt of the wanted motion; empty = the motion's own.
            source_prompt: Face prompt of the photo; empty = described from the face.
            motion: Wanted landmarks and pose, from ``motion_from_photo`` or ``faces.motion_sliders.move``; of F motions
                (``faces.motion_frames``) come F ``frames`` of the face; None = only the text drives the edit.
            strength: 0 = the face as it is, 1 = the plain result of the IMR, in between and beyond linear.

        Raises:
            DynamicIDError: No IMR, a mixed face, or no target.
        """
        imr, encoder = self.weights.imr, self.weights.keypoint_encoder
        if imr is None or encoder is None:
            raise DynamicIDError("imr", "The weights hold no IMR.", "Name IMR.bin or a combined file as `imr`.")

        def encode_prompts(prompts: Sequence[str]) -> Tensor:
            return encode_text(self.base, prompts)[1]

        networks = editing.EditingNetworks(imr, encoder, encode_prompts)
        return editing.edit_face(face, networks, target_prompt, source_prompt, motion, strength)[0]

    def __call__(
        self,
        prompt: str,
        people: Sequence[Region] = (),
        negative_prompt: str = "",
        seed: int = 0,
        settings: PaintSettings | None = None,
    ) -> Painted:
        """One picture.

        Args:
            prompt: What is to be seen.
            people: The people and their places. People without a place share equal vertical slices.
            negative_prompt: What is not to be seen.
            seed: Of the noise; the picture is that of ComfyUI with this seed.
            settings: Size, steps and everything that the Apply node offers; None = the defaults at the base model's
                own size, 512 x 512 pixels for Stable Diffusion 1.5.
        """
        if settings is None:
            side = int(self.base.unet.config["sample_size"])
            settings = PaintSettings((side, side))
        return self.paint([PictureRequest(prompt, tuple(people), seed, negative_prompt)], settings)

    def paint(self, requests: Sequence[PictureRequest], settings: PaintSettings) -> Painted:
        """Many different pictures, several of them through the UNet at a time; see ``Painter.paint``."""
        return self.painter.paint(requests, settings)

    def repaint_people(
        self,
        pictures: Tensor,
        requests: Sequence[PictureRequest],
        settings: PaintSettings,
        prompt: str | Sequence[str] = "a portrait of a person, {expression}",
        grow: float = 1.0,
        feather: float = 0.15,
        match_colour: bool = True,
    ) -> Tensor:
        """Repaints every face by itself and as the person it is: Crop People, Set Latent Noise Mask, KSampler and Paste
        People.

        Args:
            pictures: (B, height, width, 3) uint8, as ``paint`` gave them for the requests.
            requests: Of the pictures; their people are looked for at their places, their seeds are used again.
            settings: Of the repainting: ``size`` is that of the crops, ``denoise`` about 0.6.
            prompt: One line for everybody, or one line a person; ``{expression}`` becomes the words for their motion.
                A sequence has one such text for each picture.
            grow: Factor on the crop's part of the picture; 1 = head and shoulders.
            feather: Width of the transition as a share of the crop.
            match_colour: Whether colours in the transition are brought to those around it.

        Returns:
            (B, height, width, 3) uint8. A person whose face is not found stays as painted.

        Raises:
            DynamicIDError: A prompt of another number of lines.
        """
        scale = 2 ** (len(self.base.vae.config["block_out_channels"]) - 1)
        originals = pictures.float() / 255
        side = settings.size[0] * scale
        cut, repaints = [], []
        for number, request in enumerate(requests):
            regions, photo = request.people, pictures[number].numpy()
            faces = self.face_detector.detect(photo)
            own = assign_faces(stacked_embeddings(regions), places_of(regions), faces, photo.shape[:2], MATCHES[0])
            texts = person_prompts(prompt if isinstance(prompt, str) else prompt[number], regions)
            for crop in cut_people(originals[number], number, faces, own, side, grow):
                alone = (Region(regions[crop.person].face, WHOLE_PICTURE),)
                text = texts[crop.person]
                mask = resize(crop.mask, side)
                repaints.append(PictureRequest(text, alone, request.seed, request.negative, crop.given, mask))
                cut.append(crop)
        if not repaints:
            return pictures.clone()
        repainted = self.paint(repaints, settings).pictures.float() / 255
        result = paste_people(Crops(originals, tuple(cut)), list(repainted), feather, match_colour)
        return (result * 255).round().to(torch.uint8)
