"""What the pack knows of one person: identity tokens and, where known, landmarks, pose, embedding and a crop."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import DynamicIDError, check_range
from .frames import Frames, common_frame_count, join_frames


@dataclass(frozen=True)
class Face(Frames):
    """One person, with one motion or F of them (socket ``DYNAMICID_FACE``). All tensors live on the CPU.

    Args:
        id_tokens: (T, width) float32; T = 4, or 8 for a mixed identity.
        negative_tokens: (T, width) float32, the tokens of the unconditional branch.
        id_embedding: (512,) float32 ArcFace embedding of unit length.
        landmarks_106: (106, 2) float32, x and y in pixels of the 512 x 512 image; None where unknown.
        pose: (3,) float32: pitch, yaw, roll in degrees; None where unknown.
        crop: (height, width, 3) uint8 RGB picture of the face, or None.
        crop_box_xyxy: Where the crop lies, in the same pixels as the landmarks; None where unknown.
        token_scale: (T,) float32 factors on the scores of the tokens; all 1 for one identity.
        emotion: One of ``prompts.EMOTIONS`` that a network read off the photo; None where none did.
        prompt: The face prompt that the face was edited to; None for a face as encoded. Not kept in face files.
    """

    id_tokens: Tensor
    negative_tokens: Tensor
    id_embedding: Tensor
    landmarks_106: Tensor | None = None
    pose: Tensor | None = None
    crop: Tensor | None = None
    crop_box_xyxy: tuple[float, float, float, float] | None = None
    token_scale: Tensor = field(default=None)  # pyright: ignore[reportArgumentType, reportAssignmentType]
    emotion: str | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        if self.token_scale is None:
            object.__setattr__(self, "token_scale", torch.ones(self.id_tokens.shape[0]))

    def __repr__(self) -> str:
        # The host writes its nodes' inputs into the history and the log: nothing there may tell who the person is.
        more = f", {self.frame_count} frames" if self.later else ""
        return f"Face({self.id_tokens.shape[0]} tokens{more})"

    @property
    def is_mixed(self) -> bool:
        """Whether two identities share this face."""
        return bool((self.token_scale != 1).any())


def mix_faces(face_a: Face, face_b: Face, ratio: float) -> Face:
    """One identity between two people (docs/method.md, SAA).

    The scores of ``face_a``'s tokens are multiplied by ``ratio``, those of ``face_b`` by 1 - ``ratio``, before the
    softmax. Motion data (landmarks, pose) has no meaning for the mixture and is left out; the crop shows both.

    Args:
        face_a: First person.
        face_b: Second person.
        ratio: m in 0..1; 0.5 = equal shares.

    Raises:
        DynamicIDError: One of the two is a mixture already, the token widths or the numbers of motions differ, or
            ``ratio`` is out of range.
    """
    check_range("ratio", ratio, 0, 1)
    for where, face in (("face_a", face_a), ("face_b", face_b)):
        if face.is_mixed:
            raise DynamicIDError(where, "This face is already a mix of two people.", "Mix two unmixed faces.")
    if face_a.id_tokens.shape[1] != face_b.id_tokens.shape[1]:
        raise DynamicIDError(
            "face_b",
            f"Its tokens are {face_b.id_tokens.shape[1]} wide, those of face_a {face_a.id_tokens.shape[1]}.",
            "Encode both faces with the same DynamicID weights.",
        )
    count = common_frame_count({"face_a": face_a.frame_count, "face_b": face_b.frame_count})
    return join_frames([_mix(face_a.frame(i), face_b.frame(i), ratio) for i in range(count)])


def _mix(face_a: Face, face_b: Face, ratio: float) -> Face:
    count_a, count_b = face_a.id_tokens.shape[0], face_b.id_tokens.shape[0]
    embedding = ratio * face_a.id_embedding + (1 - ratio) * face_b.id_embedding
    return Face(
        id_tokens=torch.cat([face_a.id_tokens, face_b.id_tokens]),
        negative_tokens=torch.cat([face_a.negative_tokens, face_b.negative_tokens]),
        id_embedding=embedding / embedding.norm().clamp_min(1e-12),
        token_scale=torch.tensor([ratio] * count_a + [1.0 - ratio] * count_b),
    )
