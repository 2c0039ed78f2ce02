"""Ray: parts of a stage spread over the processors of one machine or a cluster. The only place that knows it."""

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Before ray is imported: nothing phones home, and no banner about it.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")

import ray
import ray.data
from ray.exceptions import RayError, WorkerCrashedError
from ray.util.annotations import RayDeprecationWarning

from ..errors import DynamicIDError
from ..files.tables import Row

OBJECT_STORE_BYTES = 100 << 20
MOST_DEATHS = 5
"""Workers that may die on the same job before the run ends."""
_PACK = Path(__file__).resolve().parents[2]


@contextmanager
def processes(count: int | None, address: str | None) -> Iterator[None]:
    """Ray for the length of a block.

    Args:
        count: Processors of this machine to use; None = all. Not for a cluster.
        address: Of a running cluster, "host:6379" or "auto"; None = this machine alone. Its machines need this pack and
            its libraries at the same place, and see the inputs and the output folder by the same paths.

    Raises:
        DynamicIDError: No cluster there, or Ray does not start.
    """
    paths = os.pathsep.join([str(_PACK), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    common: dict[str, Any] = {
        "logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True,
        "runtime_env": {"env_vars": environment},
    }  # fmt: skip
    # Short: Ray puts sockets into it, and their paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as temporary:
        alone: dict[str, Any] = {
            "num_cpus": count or os.cpu_count(), "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": temporary,
        }  # fmt: skip
        where: dict[str, Any] = {"address": address} if address else alone
        try:
            try:
                ray.init(**common, **where)
            # Of whatever kind: where a machine is too busy for its own processes, Ray raises a bare Exception.
            except Exception as error:
                raise DynamicIDError(
                    "--address" if address else "ray",
                    f"Ray does not start ({error}).",
                    "Check the address, memory and free disk; or start again when the machine is less busy.",
                ) from error
            yield
        finally:
            ray.shutdown()


def run_parts(work: Callable[[Row], Row], jobs: Sequence[Row], gpus: float = 0.0) -> Iterator[Row]:
    """Does every job on some processor; results as they come, in no order.

    A worker that dies is replaced and its job done again, up to MOST_DEATHS times; an error of a job is raised here.

    Args:
        work: Takes one job, returns a row.
        jobs: Plain rows.
        gpus: Share of a GPU that one job takes.
    """
    if not jobs:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    dataset = ray.data.from_items(list(jobs), override_num_blocks=len(jobs))
    with warnings.catch_warnings():
        # Ray 2.64 takes max_retries away, and nothing else ends a part that kills every worker; so requirements say.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        results = dataset.map(work, num_cpus=1, num_gpus=gpus or None, max_retries=MOST_DEATHS)
    try:
        yield from results.iter_rows()
    except (RayError, RuntimeError, ValueError) as error:
        raise _plain(error) from error


def _plain(error: BaseException) -> BaseException:
    """The DynamicIDError behind Ray's own, or Ray's in words."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DynamicIDError):
            return DynamicIDError(seen.where, seen.found, seen.remedy)
        if isinstance(seen, WorkerCrashedError):
            return DynamicIDError(
                "curate",
                f"Workers died {MOST_DEATHS + 1} times on the same part.",
                "Free memory and start again; or see which part is missing in OUT/work, and take out the photo.",
            )
        seen = getattr(seen, "cause", None) or seen.__cause__
    last = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return DynamicIDError("curate", f"A worker failed: {last}.", "Start the same command again; it goes on.")
