"""Captions that say nothing of what faces do: one prompts so for a face whose motion comes from a photo or the IMR."""

from dataclasses import replace

from dynamicid.synthetic import DrawnMotion, DrawnPortrait, Scene, caption, portrait_caption


def still_scene_caption(scene: Scene) -> str:
    """ "a photo of a person in a red shirt, at the beach" and the like."""
    people = tuple(replace(person, motion=DrawnMotion()) for person in scene.people)
    return caption(replace(scene, people=people))


def still_portrait_caption(portrait: DrawnPortrait) -> str:
    """ "a portrait of a person in a red shirt, in front of a grey wall" and the like."""
    return portrait_caption(replace(portrait, motion=DrawnMotion()))
