"""Benchmark files, workflows, matching, backgrounds, intervals and CLIP-T, each by itself."""

import json
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.evaluation.background import background_mask, disturbance
from dynamicid.evaluation.benchmark import BENCHMARK, load_benchmark, seeds_of
from dynamicid.evaluation.metrics import assign_by_likeness, assign_by_place, measure_expression
from dynamicid.evaluation.painting import Order, Record
from dynamicid.evaluation.people import shown_name
from dynamicid.evaluation.picture_text import PictureText
from dynamicid.evaluation.server import ComfyServer, _chosen_image, _raise_failure, _refusal
from dynamicid.evaluation.summary import summarise
from dynamicid.evaluation.workflows import fill, load_workflow, load_workflows, values_of, workflow_for
from dynamicid.files.skipped import BadSample
from scripts.write_benchmark import text

from .conftest import WEIGHTS, small_benchmark


def node(**inputs: Any) -> dict[str, Any]:
    return {"class_type": "Any", "inputs": inputs}


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_the_benchmark_is_what_its_script_writes():
    assert BENCHMARK.read_text(encoding="utf-8") == text()
    benchmark = load_benchmark().benchmark
    subjects = [subject for item in benchmark.items for subject in item.people]
    assert len(benchmark.people) == 50
    assert Counter(len(item.people) for item in benchmark.items) == {1: 100, 2: 50, 3: 25}
    assert min(Counter(subject.person for subject in subjects).values()) >= 5
    assert len({(subject.expression, subject.pitch, subject.yaw) for subject in subjects}) == 63
    assert [len(item.people) for item in benchmark.first(1)] == [1, 2, 3]
    assert list(seeds_of(benchmark.items[1], 2, first=3)) == [2003, 2004]


def change(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """``change("items.0.seed", -1)`` of a benchmark's content."""

    def apply(content: Any) -> None:
        *way, last = (int(part) if part.isdigit() else part for part in place.split("."))
        for part in way:
            content = content[part]
        content[last] = value

    return apply


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (change("version", 2), "version is 2; this pack reads version 1"),
        (change("format", "holiday"), "format: "),
        (change("items.0.item", "../../etc/passwd"), "items.0.item: "),
        (change("items.0.seed", -1), "items.0.seed: "),
        (change("items.0.people.0.expression", "smug"), "items.0.people.0.expression: "),
        (change("items.0.people.0.yaw", float("nan")), "items.0.people.0.yaw: "),
        (change("items.0.people.0.box", [0.5, 0, 0.6, 1]), "reaches out of the picture"),
        (change("items.0.people.0.person", "person-77"), "person-77, who is not among the people"),
        (change("items.1.item", "one-001"), "the item one-001 is there twice"),
        (change("items.6.people.1.person", "person-1"), "names a person twice"),
        (change("items.0.note", "x"), "items.0.note: "),
        (change("people", []), "people: "),
    ],
)
def test_bad_benchmarks_are_told(broken: Callable[[Any], None], said: str, tmp_path: Path):
    content = small_benchmark()
    broken(content)
    with pytest.raises(DynamicIDError) as caught:
        load_benchmark(written(tmp_path / "bad.json", content))
    assert said in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", "[" * 100_000])
def test_no_benchmark_at_all(content: str, tmp_path: Path):
    with pytest.raises(DynamicIDError):
        load_benchmark(written(tmp_path / "bad.json", content))


def test_placeholders_become_values(tmp_path: Path):
    benchmark = load_benchmark().benchmark
    item = benchmark.first(1)[1]
    graph = {
        "1": node(seed="{{seed}}", text="{{ prompt }}, sharp", width="{{width}}", link=["2", 0], steps=20),
        "2": node(image="{{photo_2}}", x="{{box_2.x}}", left="{{pixel_box_2.x}}", words="{{face_prompt_1}}!"),
    }
    workflow = load_workflow(written(tmp_path / "two.json", graph))
    filled = fill(workflow, values_of(item, 7, benchmark, ["a.png", "b.png"]))
    assert workflow.people == 2
    assert filled["1"]["inputs"] == {
        "seed": 7, "text": f"{item.prompt}, sharp", "width": 512, "link": ["2", 0], "steps": 20,
    }  # fmt: skip
    assert filled["2"]["inputs"] == {
        "image": "b.png", "x": 0.52, "left": 266, "words": f"{item.people[0].face_prompt}!",
    }  # fmt: skip
    assert workflow.graph == graph
    plain = load_workflow(written(tmp_path / "plain.json", {"1": node(text="{{prompt}}")}))
    assert workflow_for({0: plain, 2: workflow}, item) is workflow
    assert workflow_for({0: plain}, item) is plain
    assert workflow_for({1: workflow}, item) is None


@pytest.mark.parametrize(
    "name", ["photo", "photo_0", "photo_4", "box_1", "box_1.left", "prompt_1", "x", "photo_1.x", ""]
)
def test_unknown_placeholders_are_told(name: str, tmp_path: Path):
    with pytest.raises(DynamicIDError, match="There is no placeholder"):
        load_workflow(written(tmp_path / "bad.json", {"1": node(text="{{" + name + "}}")}))


@pytest.mark.parametrize("content", ["", "{}", "[]", {"1": {"inputs": {}}}, {"nodes": [], "links": []}])
def test_files_that_are_no_workflow(content: Any, tmp_path: Path):
    with pytest.raises(DynamicIDError):
        load_workflow(written(tmp_path / "bad.json", content))


def test_one_workflow_for_each_number_of_people(tmp_path: Path):
    written(tmp_path / "a.json", {"1": node(image="{{photo_1}}")})
    written(tmp_path / "b.json", {"1": node(image="{{photo_2}}")})
    assert {count: one.name for count, one in load_workflows([tmp_path]).items()} == {1: "a.json", 2: "b.json"}
    written(tmp_path / "c.json", {"1": node(image="{{photo_2}}")})
    with pytest.raises(DynamicIDError, match=r"b\.json and c\.json are both for 2 people"):
        load_workflows([tmp_path])


def test_the_record_tells_what_was_painted(tmp_path: Path):
    order = Order(load_benchmark().benchmark.items[0], 1000, tmp_path / "pictures" / "one-001_1000.png")
    assert Record(tmp_path).state(order, "a") == "missing"
    order.target.parent.mkdir()
    order.target.touch()
    assert Record(tmp_path).state(order, "a") == "missing"
    Record(tmp_path).note(order, "a")
    assert [Record(tmp_path).state(order, digest) for digest in ("a", "b")] == ["painted", "other"]
    written(tmp_path / "run.json", "[1, 2")
    with pytest.raises(DynamicIDError, match=r"run\.json"):
        Record(tmp_path)


def test_names_can_be_printed():
    assert shown_name(Path("für\n\udcff.png")) == "für\\n\\udcff.png"


def test_faces_find_their_places():
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)
    assert assign_by_place([left, right], [(0.8, 0.4), (0.2, 0.4)]) == [1, 0]
    assert assign_by_place([left, right], [(0.8, 0.4)]) == [None, 0]
    assert assign_by_place([left, right], [(0.7, 0.5), (0.9, 0.5)]) == [None, 0]
    assert assign_by_place([left, right], []) == [None, None]
    assert assign_by_likeness(np.array([[0.9, 0.8], [0.8, 0.1]])) == [1, 0]
    assert assign_by_likeness(np.zeros((2, 0))) == [None, None]


def test_expressions():
    probabilities = np.array([0.1, 0.6, 0.1, 0.05, 0.05, 0.05, 0.05], dtype=np.float32)
    found = measure_expression("happy", probabilities)
    assert (found["expr"], found["read_expression"]) == (0.0, "surprise")
    assert found["expr_probability"] == pytest.approx(0.1)
    assert measure_expression("surprise", probabilities)["expr"] == 1.0
    assert measure_expression("surprise", None)["expr"] == 0.0


def test_disturbance_looks_at_the_background_only():
    random = np.random.default_rng(0)
    picture = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = background_mask((64, 64), [(0.0, 0.0, 0.5, 1.0)], [(40.0, 20.0, 48.0, 28.0)])
    assert not mask[:, :32].any()
    assert not mask[16:32, 36:52].any()
    assert mask[0, 60]
    other = picture.copy()
    other[:, :20] = 0
    assert disturbance(picture, picture, mask) == pytest.approx(0, abs=1e-6)
    assert disturbance(picture, other, mask) == pytest.approx(0, abs=1e-6)
    assert (disturbance(picture, 255 - picture, mask) or 0) > 0.5
    assert disturbance(picture, other, np.zeros((64, 64), dtype=bool)) is None
    with pytest.raises(BadSample):
        disturbance(picture, picture[:32], mask)


def test_the_interval_is_the_means():
    random = np.random.default_rng(1)
    values = random.normal(0.5, 0.1, 100)
    rows = [{"item": f"i{n}", "seed": seed, "x": float(v)} for n, v in enumerate(values) for seed in (0, 1)]
    found = summarise(rows, "x")
    assert found == summarise(rows, "x")
    assert found.low is not None
    assert found.high is not None
    assert found.mean == pytest.approx(values.mean())
    # Seeds of one item say the same thing twice; they do not make the interval narrower.
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.15)
    assert (found.items, found.pictures) == (100, 200)
    assert summarise([{"item": "a", "seed": 0, "x": None}], "x").mean is None


def test_nobody_at_the_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DynamicIDError, match=r"There is no answer .* painted pictures are kept"):
        ComfyServer(f"http://127.0.0.1:{port}")


def test_which_picture_counts():
    graph = {
        "3": {"class_type": "SaveImage", "inputs": {}}, "9": {"class_type": "SaveImage", "inputs": {}},
        "10": {"class_type": "PreviewImage", "inputs": {}, "_meta": {"title": "Look"}},
    }  # fmt: skip
    outputs = {key: {"images": [{"filename": f"{key}.png", "subfolder": "", "type": "output"}]} for key in graph}
    assert _chosen_image(outputs, graph, None)["filename"] == "9.png"
    assert _chosen_image(outputs, graph, "Look")["filename"] == "10.png"
    assert _chosen_image({"10": outputs["10"]}, graph, None)["filename"] == "10.png"
    with pytest.raises(BadSample, match="saved no picture"):
        _chosen_image({}, graph, None)
    with pytest.raises(BadSample, match="no picture from a node 'x'"):
        _chosen_image(outputs, graph, "x")


def test_what_the_server_says_is_told():
    graph = {"3": {"class_type": "Apply", "inputs": {}}}
    errors = {"node_errors": {"3": {"errors": [{"message": "Value not in list", "details": "saa: 'x'"}]}}}
    assert _refusal(errors, graph) == "Apply: Value not in list saa: 'x'"
    assert _refusal({"error": {"message": "No prompt"}, "node_errors": []}, graph) == "No prompt"
    failure = {"status": {"messages": [["execution_error", {"node_id": "3", "exception_message": "a\nb " * 200}]]}}
    with pytest.raises(BadSample, match=r"^failed at Apply: a b .{280,300} \.\.\.$"):
        _raise_failure(failure, graph)
    _raise_failure({"status": {"status_str": "success", "messages": []}}, graph)


def test_clip_t_is_the_cosine(tmp_path: Path):
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "base" / "tokenizer")
    words = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    words |= {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    eyes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = CLIPConfig(text_config=words, vision_config={**eyes, "image_size": 32, "patch_size": 8}, projection_dim=16)
    size = {"height": 32, "width": 32}
    processor = CLIPProcessor(CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size), tokenizer)
    model = CLIPModel(config).eval()
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    picture = np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    prompt = "a photo of a person at the beach"
    inputs = processor(text=[prompt], images=[torch.from_numpy(picture).permute(2, 0, 1)], return_tensors="pt")
    with torch.inference_mode():
        said = model(**inputs)
        cosine = float((said.image_embeds * said.text_embeds).sum())
    text_reader = PictureText(tmp_path)
    assert text_reader.score(picture, prompt) == pytest.approx(max(cosine, 0), abs=1e-5)
    assert text_reader.score(picture, prompt) == text_reader.score(picture, prompt)
    with pytest.raises(DynamicIDError, match=r"There is no config\.json"):
        PictureText(tmp_path / "missing")
