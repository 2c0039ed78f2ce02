"""A small drawn world, curated once with the tiny models' real face networks by the command, killed on its way."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "tiny_models" / "weights" / "insightface" / "models" / "drawn_faces"
EMOTION_MODEL = ROOT / "tiny_models" / "weights" / "emotion" / "drawn_emotion.onnx"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PEOPLE, PHOTOS = 6, 6


@dataclass(frozen=True)
class World:
    """photos: people's folders. out: what the command wrote. kills: how often it was killed before it could end."""

    photos: Path
    out: Path
    kills: int


def command(*arguments: object) -> list[str]:
    """The command line of ``curate``."""
    return [sys.executable, "-m", "dynamicid", "curate", *map(str, arguments)]


def options(out: Path) -> list[str]:
    """Parts of a few photos, one processor."""
    return ["--out", str(out), "--face-pack", str(PACK), "--workers", "1", "--part-size", "5", "--size", "96"]


def start(*arguments: object) -> subprocess.CompletedProcess:
    """Runs ``curate`` to its end."""
    return subprocess.run(command(*arguments), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def kill_when(done: Path, count: int, *arguments: object) -> bool:
    """Starts ``curate`` and kills it (-9) once ``count`` records match ``done``; whether it was still running."""
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and len(list(done.parent.glob(done.name))) < count:
        time.sleep(0.02)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return running


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Six people, six photos each and two copies of one, in a run that was killed three times."""
    from PIL import Image

    from dynamicid.synthetic.splits import Split
    from dynamicid.synthetic.writing import write_variface

    root = tmp_path_factory.mktemp("curation")
    photos, out = root / "photos", root / "out"
    photos.mkdir()
    for _ in write_variface(photos, range(PEOPLE), PHOTOS, 128, 0, Split.train):
        pass
    (photos / "00000" / "copy.png").write_bytes((photos / "00000" / "000.png").read_bytes())
    Image.open(photos / "00001" / "001.png").resize((96, 96)).save(photos / "00001" / "smaller.jpg", quality=80)
    arguments = (photos, *options(out), "--consent", "signed", "--licence", "CC0")
    kills = kill_when(out / "work/decoded/*.json", 3, *arguments)
    kills += kill_when(out / "work/measured/*.json", 2, *arguments)
    kills += kill_when(out / "work/measured/*.json", 5, *arguments)
    done = start(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return World(photos, out, kills)
