"""Scenes: places of people, captions, attributes, splits."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.synthetic import (
    EXPRESSIONS,
    Attribute,
    DrawnMotion,
    Scene,
    SceneObject,
    Split,
    attributes,
    caption,
    number_in,
    people_of,
    pictures_of,
    render_scene,
    sample_identity,
    sample_scene,
)
from dynamicid.synthetic.captions import EXPRESSION_WORDS, POSITIONS
from dynamicid.synthetic.colours import SHIRTS
from dynamicid.synthetic.scene import OBJECT_SHAPES, PLACES
from tests.synthetic.samples import colour_at, is_close, scene_of

Box = tuple[float, float, float, float]


def overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def test_no_face_overlaps_another_or_an_object_or_leaves_the_picture():
    for number in range(120):
        annotation = render_scene(sample_scene(1, number), 48)[1]
        boxes = [face.box_xyxy for face in annotation.faces]
        assert all(overlap(a, b) == 0 for a, b in combinations(boxes, 2)), number
        assert all(overlap(a, b) == 0 for a in boxes for b in annotation.objects), number
        assert all(min(box) >= 0 and max(box) <= 48 for box in boxes), number


def test_people_stand_from_left_to_right_and_wear_their_shirts():
    for number in range(40):
        scene = sample_scene(2, number, people=(2, 3))
        picture, annotation = render_scene(replace(scene, objects=()), 128)
        middles = [(face.box_xyxy[0] + face.box_xyxy[2]) / 2 for face in annotation.faces]
        assert middles == sorted(middles)
        front = max(range(len(scene.people)), key=lambda i: scene.people[i].y)
        person = scene.people[front]
        below = np.array([person.x, person.y + 2.0 * person.unit]) * 128
        assert is_close(colour_at(picture, below), SHIRTS[person.shirt], 12), number


def test_captions_say_what_is_there():
    happy, calm = EXPRESSIONS["happy"], DrawnMotion()
    single = replace(scene_of((0.3, "red", happy)), place="beach")
    single = replace(single, objects=(SceneObject("ball", "blue", 0.85, 0.95, 0.2),))
    assert caption(single) == "a photo of a person in a red shirt, smiling, at the beach, next to a blue ball"
    pair = scene_of((0.25, "orange", calm), (0.75, "green", EXPRESSIONS["anger"]))
    assert caption(pair) == (
        "a photo of two people in front of a yellow wall, the left one in an orange shirt, "
        "the right one in a green shirt, looking angry"
    )


def test_attributes_are_exactly_what_the_caption_names():
    for number in range(150):
        scene = sample_scene(4, number)
        text, asked = caption(scene), attributes(scene)
        assert Attribute("people", str(len(scene.people))) in asked
        assert PLACES[scene.place].format(colour=scene.wall) in text
        for position, words in enumerate(POSITIONS[len(scene.people)]):
            mine = {one.name: one.value for one in asked if one.subject == position and one.name[0] != "o"}
            said = text.split(words, 1)[1].split(" one ")[0] if words else text
            assert f" {mine['shirt']} shirt" in said
            for expression, word in EXPRESSION_WORDS.items():
                if word:
                    assert (word in said) == (expression == mine["expression"]), text
        objects = [one.value for one in asked if one.name == "object"]
        colours = [one.value for one in asked if one.name == "object colour"]
        assert all(f"{colour} {kind}" in text for colour, kind in zip(colours, objects, strict=True))
        assert ("next to" in text) == bool(objects)


@pytest.mark.parametrize("kind", OBJECT_SHAPES)
def test_objects_lie_inside_their_boxes(kind: str):
    scene = scene_of((0.25, "red", DrawnMotion()))
    thing = SceneObject(kind, "green", 0.7, 0.05 if kind == "balloon" else 0.9, 0.25)
    without, with_it = render_scene(scene, 200)[0], render_scene(replace(scene, objects=(thing,)), 200)[0]
    rows, columns = np.nonzero((without != with_it).any(axis=2))
    x0, y0, x1, y1 = thing.box_xyxy(200)
    assert columns.min() >= x0 - 1.5
    assert columns.max() <= x1 + 0.5
    assert rows.min() >= y0 - 1.5
    assert rows.max() <= y1 + 0.5
    assert columns.max() - columns.min() > 0.85 * (x1 - x0)
    assert rows.max() - rows.min() > 0.85 * (y1 - y0)


@pytest.mark.parametrize("place", PLACES)
def test_every_place_looks_different(place: str):
    scene = scene_of((0.5, "red", DrawnMotion()))
    others = [replace(scene, place=other) for other in PLACES if other != place]
    mine = render_scene(replace(scene, place=place), 48)[0].astype(int)
    assert all(np.abs(mine - render_scene(other, 48)[0]).mean() > 10 for other in others)


def test_splits_share_no_number():
    for numbers in (people_of, pictures_of):
        assert not set(numbers(Split.train)) & set(numbers(Split.held_out))


def test_splits_share_no_person_and_no_shirt_at_a_place():
    seen: dict[Split, set[tuple[str, str]]] = {}
    for split in Split:
        seen[split] = set()
        for number in pictures_of(split)[:300]:
            scene = sample_scene(6, number, split)
            assert all(person.identity.number in people_of(split) for person in scene.people)
            seen[split] |= {(scene.place, person.shirt) for person in scene.people}
    assert not seen[Split.train] & seen[Split.held_out]
    assert {shirt for _, shirt in seen[Split.train]} == set(SHIRTS)
    assert {place for place, _ in seen[Split.train]} == set(PLACES)


def test_a_split_ends():
    assert number_in(Split.held_out, 0) == 1_000_000
    with pytest.raises(DynamicIDError, match="2000 people"):
        number_in(Split.held_out, 2000, people=True)


def test_given_identities_are_the_ones_shown():
    who = [sample_identity(0, 9), sample_identity(0, 4)]
    scene = sample_scene(1, 5, identities=who)
    assert [person.identity for person in scene.people] == who


@pytest.mark.parametrize("people", [(0, 1), (2, 4), (3, 2)])
def test_wrong_numbers_of_people_are_refused(people: tuple[int, int]):
    with pytest.raises(DynamicIDError, match="--people"):
        sample_scene(0, 0, people=people)


def test_scenes_that_cannot_be_are_refused():
    calm = DrawnMotion()
    with pytest.raises(DynamicIDError, match="overlap"):
        scene_of((0.4, "red", calm), (0.6, "red", calm), height=0.4)
    with pytest.raises(DynamicIDError, match="left to right"):
        scene_of((0.8, "red", calm), (0.2, "red", calm))
    with pytest.raises(DynamicIDError, match="no known shirt"):
        scene_of((0.5, "tartan", calm))
    with pytest.raises(DynamicIDError, match="0 people"):
        Scene(0, "park", ())
    with pytest.raises(DynamicIDError, match="no known place"):
        replace(scene_of((0.5, "red", calm)), place="moon")


@pytest.mark.parametrize("size", [0, 15, 5000])
def test_sizes_that_cannot_be_drawn_are_refused(size: int):
    with pytest.raises(DynamicIDError, match="--size"):
        render_scene(scene_of((0.5, "red", DrawnMotion())), size)
