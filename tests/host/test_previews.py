"""What is kept for the canvas: once a person, no more than a few hundred, as long as its owners live."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture
def previews(pack: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, with room for two."""
    module = pack.load("dynamicid.host.previews")
    monkeypatch.setattr(module, "_kept", type(module._kept)())
    monkeypatch.setattr(module, "_MOST", 2)
    return module


@pytest.fixture
def people(pack: Any) -> list[Any]:
    """Three people with crops of their own."""
    face_type = pack.load("dynamicid.faces.face").Face
    tokens, embedding = torch.zeros(4, 768), torch.zeros(512)
    return [face_type(tokens, tokens, embedding, crop=torch.full((8, 8, 3), n, dtype=torch.uint8)) for n in range(3)]


def test_a_crop_is_encoded_once(previews: ModuleType, people: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    png = previews._png
    monkeypatch.setattr(previews, "_png", lambda crop: encoded.append(1) or png(crop))
    first, again = previews.keep(people[0], people[0]), previews.keep(people[0], people[0])
    assert first == again
    assert len(encoded) == 1
    assert previews.find(first["id"]).png.startswith(b"\x89PNG")


def test_who_was_seen_last_is_kept(previews: ModuleType, people: list[Any]) -> None:
    first, second = previews.keep(people[0], people[0])["id"], previews.keep(people[1], people[1])["id"]
    previews.keep(people[0], people[0])
    third = previews.keep(people[2], people[2])["id"]
    assert previews.find(second) is None
    assert None not in (previews.find(first), previews.find(third))


def test_a_person_is_forgotten_with_the_last_owner(previews: ModuleType, people: list[Any]) -> None:
    twin = replace(people[0])
    name = previews.keep(people[0], people[0])["id"]
    assert previews.keep(twin, twin)["id"] == name
    people.clear()
    assert previews.find(name) is not None
    del twin
    assert previews.find(name) is None
    assert not previews._kept


def test_pictures_go_and_motions_stay(pack: Any, previews: ModuleType, people: list[Any]) -> None:
    motion = pack.load("dynamicid.faces.motion_sliders").average_motion()
    picture, both = previews.keep(people[0], people[0])["id"], previews.keep(people[1], people[1], motion)["id"]
    previews.forget_crops()
    assert previews.find(picture) is None
    assert previews.find(both) == previews.Kept(motion, None)
    assert previews.keep(people[1], people[1], motion)["id"] == both
    assert previews.find(both).png is not None
