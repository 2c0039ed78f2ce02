"""A small benchmark, painted by the drawn world and scored with the tiny models' real face networks."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynamicid.evaluation.benchmark import BENCHMARK, load_benchmark
from dynamicid.evaluation.drawn import Control, DrawnBenchmark, write_drawn_benchmark
from dynamicid.evaluation.evaluation import Options, Session, evaluate, open_session
from dynamicid.evaluation.tables import Result

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "tiny_models" / "weights"
PACK = WEIGHTS / "insightface" / "models" / "drawn_faces"
EMOTION_MODEL = WEIGHTS / "emotion" / "drawn_emotion.onnx"
SLOTS = [f"person-{number}" for number in range(1, 7)]
MOST = {1: 6, 2: 4, 3: 2}
"""Items for each number of people."""


def small_benchmark() -> dict[str, Any]:
    """Some of the pack's items, with six people in all of them."""
    content = json.loads(BENCHMARK.read_text(encoding="utf-8"))
    items = []
    for count, most in MOST.items():
        chosen = [item for item in content["items"] if len(item["people"]) == count][:most]
        for number, item in enumerate(chosen):
            for place, subject in enumerate(item["people"]):
                subject["person"] = SLOTS[(number * count + place) % len(SLOTS)]
        items += chosen
    return {**content, "people": SLOTS, "items": items}


@pytest.fixture(scope="session")
def benchmark_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "small.json"
    path.write_text(json.dumps(small_benchmark()), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def painted(benchmark_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``painted(control, first_seed)`` -> folder with photos/, pictures/ and unpatched/."""
    root, done = tmp_path_factory.mktemp("drawn"), {}

    def paint(control: str = "right", first_seed: int = 0) -> Path:
        if (control, first_seed) not in done:
            folder = root / f"{control}-{first_seed}"
            drawn = DrawnBenchmark(load_benchmark(benchmark_file).benchmark, first_seed=first_seed)
            write_drawn_benchmark(drawn, Control(control), folder, lambda *_: None)
            done[control, first_seed] = folder
        return done[control, first_seed]

    return paint


@pytest.fixture(scope="session")
def session(
    benchmark_file: Path,
    painted: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Session:
    """Benchmark, networks and people; its ``out`` is for nobody."""
    out = tmp_path_factory.mktemp("out")
    return open_session(Options(out, painted() / "photos", PACK, benchmark_file, emotion_model=EMOTION_MODEL))


@pytest.fixture(scope="session")
def score(session: Session) -> Callable[..., Result]:
    """``score(pictures, out, unpatched=None)`` -> the result, after it was written to ``out``."""

    def run(pictures: Path, out: Path, unpatched: Path | None = None) -> Result:
        out.mkdir(exist_ok=True)
        options = replace(session.options, out=out)
        return evaluate(replace(session, options=options), pictures, unpatched, (), lambda *_: None)

    return run


@pytest.fixture(scope="session")
def scored(
    painted: Callable[..., Path], score: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Result]:
    """``scored(control, first_seed)`` -> the result of a drawn benchmark."""
    root, done = tmp_path_factory.mktemp("scored"), {}

    def get(control: str = "right", first_seed: int = 0) -> Result:
        if (control, first_seed) not in done:
            folder = painted(control, first_seed)
            out = root / f"{control}-{first_seed}"
            done[control, first_seed] = score(folder / "pictures", out, folder / "unpatched")
        return done[control, first_seed]

    return get


def write_json(path: Path, content: Any) -> Path:
    """Writes JSON, or a text as it is; returns the path."""
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path
