"""The tiny models' pictures for stage 1."""

import json
from pathlib import Path

from dynamicid.synthetic import Split, number_in, render_scene, sample_scene
from dynamicid.synthetic.writing import ANNOTATIONS
from tiny_models.places import PICTURE_SIZE, SEED
from tiny_models.train.dynamicid_dataset import FIRST_OF_GROUP, write_single_people

FIRST = 4


def test_people_of_groups_are_alone_where_they_would_stand(tmp_path: Path) -> None:
    write_single_people(tmp_path, scenes=2, portraits=1, of_groups=3, first=FIRST)
    lines = (tmp_path / ANNOTATIONS).read_text(encoding="utf-8").splitlines()
    pictures = {picture["number"]: picture for picture in map(json.loads, lines)}
    assert len(pictures) == 6
    assert all(len(picture["faces"]) == 1 for picture in pictures.values())
    for position in range(FIRST, FIRST + 3):
        number = number_in(Split.train, FIRST_OF_GROUP + position)
        _, group = render_scene(sample_scene(SEED, number, people=(3, 3)), 2 * PICTURE_SIZE)
        picture = pictures.pop(number)
        assert picture["faces"] == [json.loads(json.dumps(group.as_json()["faces"][position % 3]))]
        assert picture["size"] == 2 * PICTURE_SIZE
    assert all(picture["size"] == PICTURE_SIZE for picture in pictures.values())
