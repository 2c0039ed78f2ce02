"""``python -m dynamicid cache imr`` where the first of several processes is late with what all samples share; each of
them opens the cache as soon as the command is done."""

import sys
import time
from pathlib import Path

from dynamicid.cli.app import app
from dynamicid.training import caching
from dynamicid.training.config import IMRConfig, load_config
from dynamicid.training.shards import Sample, open_shards, write_common

LATE_SECONDS = 3


def _write_late(folder: Path, tensors: Sample) -> None:
    time.sleep(LATE_SECONDS)
    write_common(folder, tensors)


if __name__ == "__main__":
    caching.write_common = _write_late
    app(standalone_mode=False)
    open_shards(load_config(Path(sys.argv[-1]), IMRConfig).data.cache, "imr")
