"""A small drawn world, curated once with the tiny models' real face networks by the command, killed on its way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.watched import watched

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "tiny_models" / "weights" / "insightface" / "models" / "drawn_faces"
EMOTION_MODEL = ROOT / "tiny_models" / "weights" / "emotion" / "drawn_emotion.onnx"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PEOPLE, PHOTOS = 6, 6


@dataclass(frozen=True)
class World:
    """photos: people's folders. out: what the command wrote. kills: how often it was killed before it could end.

    temporary: Folder for temporary files of all these runs. connections: Log of the last run; see ``watched``.
    """

    photos: Path
    out: Path
    kills: int
    temporary: Path
    connections: Path


def command(*arguments: object) -> list[str]:
    """The command line of ``curate``."""
    return [sys.executable, "-m", "dynamicid", "curate", *map(str, arguments)]


def options(out: Path) -> list[str]:
    """Parts of a few photos, one processor."""
    return ["--out", str(out), "--face-pack", str(PACK), "--workers", "1", "--part-size", "5", "--size", "96"]


def start(*arguments: object, log: Path | None = None, **variables: str) -> subprocess.CompletedProcess:
    """Runs ``curate`` to its end; with ``log``, its connections are written there."""
    words, environment = [*(() if log is None else watched(log)), *command(*arguments)], {**ENVIRONMENT, **variables}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def kill_when(done: Path, count: int, *arguments: object, **variables: str) -> bool:
    """Starts ``curate`` and kills it (-9) once ``count`` records match ``done``; whether it was still running."""
    environment, quiet = {**ENVIRONMENT, **variables}, subprocess.DEVNULL
    process = subprocess.Popen(command(*arguments), cwd=ROOT, env=environment, stdout=quiet, stderr=quiet)
    while process.poll() is None and len(list(done.parent.glob(done.name))) < count:
        time.sleep(0.02)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return running


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
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
    # Ray's sockets lie there, and their paths must be short.
    with TemporaryDirectory() as temporary:
        variables = {"TMPDIR": temporary}
        kills = kill_when(out / "work/decoded/*.json", 3, *arguments, **variables)
        kills += kill_when(out / "work/measured/*.json", 2, *arguments, **variables)
        kills += kill_when(out / "work/measured/*.json", 5, *arguments, **variables)
        log = root / "connections.log"
        done = start(*arguments, log=log, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        yield World(photos, out, kills, Path(temporary), log)
