"""Emotion networks: which files are understood, what goes in and which word comes out."""

from pathlib import Path

import numpy as np
import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.faces.detected import DetectedFace
from dynamicid.faces.emotion_layouts import EmotionLayout
from dynamicid.faces.emotions import EmotionReader, likeliest_emotion, load_emotion_reader, network_input
from dynamicid.faces.prompts import EMOTIONS
from tests.faces.emotion_files import FER_PLUS, HSEMOTION, SEVEN, scores_for, write_emotion_onnx
from tests.standin.onnx_graph import Graph, tensor

PICTURE = np.full((120, 160, 3), 90, dtype=np.uint8)
HSEMOTION_7 = tuple(name for name in HSEMOTION if name != "contempt")
WORDS = {
    "happiness": "happy",
    "surprise": "surprise",
    "sadness": "sad",
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "neutral": "neutral",
}


def face_at(*box: float) -> DetectedFace:
    zeros = (np.zeros(size, dtype=np.float32) for size in ((106, 2), 3, 512))
    return DetectedFace(box or (50.0, 30.0, 90.0, 80.0), 0.9, *zeros)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("classes", "shape", "name", "family"),
    [
        (HSEMOTION, ("batch", 3, 224, 224), "input", "HSEmotion"),
        (HSEMOTION, (1, 3, 260, 260), "input", "HSEmotion"),
        (HSEMOTION_7, ("batch", 3, 260, 260), "input", "HSEmotion"),
        ((*HSEMOTION, "valence", "arousal"), ("batch", 3, 224, 224), "input", "HSEmotion"),
        (FER_PLUS, (1, 1, 64, 64), "Input3", "FER+"),
    ],
)
def test_classes_of_published_files_become_words(tmp_path, classes, shape, name, family) -> None:
    for published in WORDS:
        path = write_emotion_onnx(tmp_path / f"{published}.onnx", shape, scores_for(classes, published), name=name)
        reader = load_emotion_reader(path)
        assert reader.layout.name == family
        _says(reader, published)


def _says(reader: EmotionReader, published: str) -> None:
    said = reader.read(PICTURE, face_at())
    assert said.shape == (7,)
    assert said.dtype == np.float32
    assert said.sum() == pytest.approx(1)
    assert likeliest_emotion(said) == WORDS[published]
    # Six others at a logit 4 lower: what has no word takes nothing away.
    assert said.max() == pytest.approx(1 / (1 + 6 * np.exp(-4)), rel=1e-5)


def test_contempt_is_left_out_and_the_rest_renormalised(tmp_path) -> None:
    scores = [1.0 if name == "sadness" else 500.0 if name == "contempt" else 0.0 for name in HSEMOTION]
    reader = load_emotion_reader(write_emotion_onnx(tmp_path / "a.onnx", (1, 3, 224, 224), scores))
    said = reader.read(PICTURE, face_at())
    assert said[EMOTIONS.index("sad")] == pytest.approx(np.e / (np.e + 6), rel=1e-5)


def test_a_self_describing_file_has_its_say(tmp_path) -> None:
    """Names in any order and case, a class left out, probabilities, a free size."""
    metadata = {"emotions": "Neutral, Contempt, Happy, angry", "output": "probabilities", "size": "48", "name": "mine"}
    path = write_emotion_onnx(tmp_path / "a.onnx", (1, 3, "h", "w"), [0.1, 0.5, 0.3, 0.1], "x", metadata=metadata)
    reader = load_emotion_reader(path)
    assert (reader.layout.size, reader.layout.name) == (48, "mine")
    expected = dict.fromkeys(EMOTIONS, 0.0) | {"neutral": 0.2, "happy": 0.6, "anger": 0.2}
    assert reader.read(PICTURE, face_at()) == pytest.approx(list(expected.values()))


def test_the_picture_decides(tmp_path) -> None:
    weights = [5.0, *[0.0] * 5, -5.0]
    path = write_emotion_onnx(
        tmp_path / "a.onnx",
        (1, 3, 32, 32),
        [0.0] * 7,
        weights=weights,
        metadata={"emotions": SEVEN, "mean": "0.5", "std": "0.5"},
    )
    reader = load_emotion_reader(path)
    half = np.zeros((100, 200, 3), dtype=np.uint8)
    half[:, 100:] = 255
    left, right = (reader.read(half, face_at(x, 30, x + 40, 80)) for x in (20, 140))
    assert (likeliest_emotion(left), likeliest_emotion(right)) == ("neutral", "happy")


NOT_UNDERSTOOD = {
    "another size": ((1, 3, 112, 112), 8, {}, r"no metadata `emotions`, an input 'input' of 3 x 112 x 112 and 8"),
    "another count": ((1, 3, 224, 224), 1000, {}, "and 1000 outputs"),
    "another count of FER+": ((1, 1, 64, 64), 7, {}, "1 x 64 x 64 and 7 outputs"),
    "no picture": ((1, 3), 8, {}, r"input has the shape \[1, 3\]"),
    "not square": ((1, 3, 224, 260), 8, {}, r"\[1, 3, 224, 260\]"),
    "a fixed batch": ((4, 3, 224, 224), 8, {}, r"\[4, 3, 224, 224\]"),
    "four channels": ((1, 4, 224, 224), 8, {}, r"\[1, 4, 224, 224\]"),
    "a free size": ((1, 3, "h", "w"), 7, {"emotions": SEVEN}, "size is left open, and its metadata `size` is ''"),
    "a huge size": ((1, 3, "h", "w"), 7, {"emotions": SEVEN, "size": "9" * 30}, "999999 pixels a side, not 16 to 1024"),
    "an unknown class": ((1, 3, 64, 64), 7, {"emotions": SEVEN.replace("sad", "bored")}, "names 'bored'; known are"),
    "a class twice": ((1, 3, 64, 64), 7, {"emotions": SEVEN.replace("sad", "happiness")}, "and the network has 7"),
    "too few classes": ((1, 3, 64, 64), 7, {"emotions": "happy,sad"}, "and the network has 7 outputs"),
    "another colour": ((1, 3, 64, 64), 7, {"emotions": SEVEN, "colour": "grey"}, "`colour` is 'grey'.* 3 channels"),
    "no numbers": ((1, 3, 64, 64), 7, {"emotions": SEVEN, "mean": "a,b,c"}, "`mean` is 'a,b,c', not 1 or 3 numbers"),
    "no finite numbers": ((1, 3, 64, 64), 7, {"emotions": SEVEN, "mean": "nan"}, "`mean` is 'nan'"),
    "too many numbers": ((1, 3, 64, 64), 7, {"emotions": SEVEN, "std": "1,1"}, "`std` is '1,1'"),
    "a deviation of 0": ((1, 3, 64, 64), 7, {"emotions": SEVEN, "std": "0"}, "deviations are above 0"),
    "a huge margin": ((1, 3, 64, 64), 7, {"emotions": SEVEN, "margin": "1e9"}, "a margin of 1e"),
    "another output": ((1, 3, 64, 64), 7, {"emotions": SEVEN, "output": "votes"}, "`output` is 'votes'"),
}


@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
def test_what_is_not_understood_is_told(tmp_path: Path, name: str) -> None:
    shape, count, metadata, message = NOT_UNDERSTOOD[name]
    path = tmp_path / "other.onnx"
    if len(shape) == 4:
        write_emotion_onnx(path, shape, [0.0] * count, metadata=metadata)
    else:
        _write_flat(path, shape)
    with pytest.raises(DynamicIDError, match=rf"^other\.onnx: .*{message}.* Use an emotion network of HSEmotion"):
        load_emotion_reader(path)


def _write_flat(path: Path, shape: tuple[int, ...]) -> None:
    graph = Graph()
    graph.add("Identity", "input", output="output")
    graph.save(path, [tensor("input", shape)], [tensor("output", shape)])


def test_broken_files_are_told(tmp_path: Path) -> None:
    whole = write_emotion_onnx(tmp_path / "whole.onnx", (1, 3, 224, 224), [0.0] * 8).read_bytes()
    path = tmp_path / "broken.onnx"
    for content in (b"", b"no network", whole[: len(whole) // 2], b"\x80\x04" + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(DynamicIDError, match=r"broken\.onnx: .* is no sound ONNX file \("):
            load_emotion_reader(path)
    with pytest.raises(DynamicIDError, match="There is no file"):
        load_emotion_reader(tmp_path / "missing.onnx")


def test_outputs_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    metadata = {"emotions": SEVEN, "output": "probabilities"}
    for scores in ([np.nan] * 7, [-1.0] * 7):
        path = write_emotion_onnx(tmp_path / "a.onnx", (1, 3, 32, 32), scores, metadata=metadata)
        with pytest.raises(DynamicIDError, match="these are no probabilities"):
            load_emotion_reader(path).read(PICTURE, face_at())


def test_no_face_and_no_picture_are_told(tmp_path: Path) -> None:
    reader = load_emotion_reader(write_emotion_onnx(tmp_path / "a.onnx", (1, 1, 64, 64), [0.0] * 8))
    nan = float("nan")
    for box in ((170, 10, 190, 30), (-50, -60, -10, -20), (50, 30, 50, 80), (50, 80, 90, 30), (nan, nan, nan, nan)):
        with pytest.raises(DynamicIDError, match=r"image: The face's box .* lies outside the picture of 160 x 120"):
            reader.read(PICTURE, face_at(*box))
    with pytest.raises(DynamicIDError, match=r"found shape \(120, 160\) of uint8"):
        reader.read(PICTURE[..., 0], face_at())
    with pytest.raises(DynamicIDError, match="of float64"):
        reader.read(PICTURE / 255, face_at())


def layout(**values) -> EmotionLayout:
    plain = {"name": "test", "words": EMOTIONS, "size": 20, "colour": "rgb", "mean": (0.0,), "std": (1.0,)}
    return EmotionLayout(**{**plain, **values})


def test_the_crop_is_the_square_around_the_box_with_its_margin() -> None:
    """A box of 20 x 40 whose square is 40: the picture's columns tell where it was cut."""
    picture = np.repeat(np.arange(160, dtype=np.uint8)[None, :, None], 120, axis=0).repeat(3, axis=2)
    face = face_at(60, 40, 80, 80)
    for margin, size in ((0.0, 40), (0.5, 80)):
        columns = network_input(picture, face, layout(size=size, margin=margin))[0, 0, 0] * 255
        assert columns == pytest.approx(np.arange(70 - size // 2, 70 + size // 2), abs=0.01)
    rows = network_input(picture.transpose(1, 0, 2), face_at(40, 60, 80, 80), layout(size=40, shift=0.25))[0, 0, :, 0]
    assert rows * 255 == pytest.approx(np.arange(60, 100), abs=0.01)


@pytest.mark.parametrize("box", [(-20, -30, 20, 10), (140, 100, 180, 140), (-40, 20, 240, 100), (0, 0, 160, 120)])
def test_beyond_the_picture_its_edge_goes_on(box: tuple[int, ...]) -> None:
    before = PICTURE.copy()
    pixels = network_input(PICTURE, face_at(*box), layout(margin=0.25))
    assert pixels.shape == (1, 3, 20, 20)
    assert pixels == pytest.approx(90 / 255, abs=1e-6)
    assert np.array_equal(PICTURE, before)


def test_channels_go_in_as_the_layout_says() -> None:
    picture = np.zeros((60, 60, 3), dtype=np.uint8) + np.array([255, 102, 0], dtype=np.uint8)
    face = face_at(10, 10, 50, 50)
    means = {colour: network_input(picture, face, layout(colour=colour)).mean((0, 2, 3)) for colour in ("rgb", "bgr")}
    assert means["rgb"] == pytest.approx([1, 0.4, 0])
    assert means["bgr"] == pytest.approx([0, 0.4, 1])
    normed = network_input(picture, face, layout(mean=(0.5, 0.4, 0.0), std=(0.5, 1.0, 0.1))).mean((0, 2, 3))
    assert normed == pytest.approx([1, 0, 0], abs=1e-6)
    grey = network_input(picture, face, layout(colour="grey", std=(1 / 255,)))
    assert grey.shape == (1, 1, 20, 20)
    assert grey == pytest.approx(0.299 * 255 + 0.587 * 102, abs=1)
