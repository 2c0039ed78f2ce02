"""Runs the parts of a stage with Ray on the processors of one machine or a cluster. No other file imports Ray."""

import logging
import os
import site
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from os import environ
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError, WorkerCrashedError
from ray.util.annotations import RayDeprecationWarning

from ..errors import DynamicIDError
from ..files.atomic import own_folder
from ..files.tables import Row

OBJECT_STORE_BYTES = 100 << 20
_FAILED = "failed"
"""Column of a job's result that holds the parts of its DynamicIDError."""
MOST_DEATHS = 5
"""Retries of a job whose worker died."""
_PACK = Path(__file__).resolve().parents[2]


@contextmanager
def processes(count: int | None, address: str | None) -> Iterator[None]:
    """Starts Ray, or connects to a cluster, for the duration of a block.

    Args:
        count: Number of processors of this machine to use; None = all. Ignored with ``address``.
        address: Of a running cluster, "host:6379" or "auto"; None = this machine only. Its machines need this pack and
            its libraries at the same place, and the inputs and the output folder under the same paths.

    Raises:
        DynamicIDError: There is no such cluster, or Ray does not start.
    """
    paths = os.pathsep.join([str(_PACK), *filter(None, [os.getenv("PYTHONPATH")])])
    environment = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    common: dict[str, Any] = {
        "logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True,
        "runtime_env": {"env_vars": environment},
    }  # fmt: skip
    with own_folder(Path(tempfile.gettempdir())) as temporary:
        local: dict[str, Any] = {
            "num_cpus": count or os.cpu_count(), "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": str(temporary / "ray"),
        }  # fmt: skip
        where: dict[str, Any] = {"address": address} if address else local
        try:
            try:
                # The token of a cluster that asks for one lies in the user's own home folder.
                with nullcontext() if address else _home(temporary):
                    ray.init(**common, **where)
            # Ray raises a bare Exception where its own processes do not start in time.
            except Exception as error:
                raise DynamicIDError(
                    "--address" if address else "ray",
                    f"Ray does not start ({error}).",
                    "Check the address, memory and free disk; or start again when the machine is less busy.",
                ) from error
            yield
        finally:
            ray.shutdown()


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """The home folder of the processes that a block starts.

    Without a cluster's configuration there, Ray asks the network for a cloud's metadata service.
    """
    (folder / "ray_bootstrap_config.yaml").write_text("{}")
    homes = {"HOME": str(folder), "USERPROFILE": str(folder), "PYTHONUSERBASE": site.getuserbase()}
    before = {name: os.getenv(name) for name in homes}
    environ.update(homes)
    try:
        yield
    finally:
        for name, value in before.items():
            environ.pop(name) if value is None else environ.update({name: value})


def run_parts(work: Callable[[Row], Row], jobs: Sequence[Row], gpus: float = 0.0) -> Iterator[Row]:
    """Runs all jobs in parallel; yields their results in the order of completion.

    A worker that dies is replaced and its job repeated, up to MOST_DEATHS times; the error of a job is raised here.

    Args:
        work: Job -> result.
        jobs: Rows of plain values.
        gpus: Share of a GPU per job.
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
        # Ray 2.64 removes max_retries, and nothing else stops a job that kills every worker: see the requirements.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        results = dataset.map(partial(_guarded, work), num_cpus=1, num_gpus=gpus or None, max_retries=MOST_DEATHS)
    try:
        for row in results.iter_rows():
            if _FAILED in row:
                raise DynamicIDError(*row[_FAILED])
            yield row
    except DynamicIDError:
        raise
    except (RayError, RuntimeError, ValueError) as error:
        raise _translate(error) from error


def _guarded(work: Callable[[Row], Row], job: Row) -> Row:
    """The job's result, or its DynamicIDError as one: of a job's exception Ray passes on no more than a text."""
    try:
        return work(job)
    except DynamicIDError as error:
        return {_FAILED: [error.where, error.found, error.remedy]}


def _translate(error: BaseException) -> DynamicIDError:
    """A DynamicIDError that describes Ray's own error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, WorkerCrashedError):
            return DynamicIDError(
                "curate",
                f"Workers died {MOST_DEATHS + 1} times on the same part.",
                "Free memory and start again; or find the part that is missing in OUT/work and remove its photo.",
            )
        seen = getattr(seen, "cause", None) or seen.__cause__
    last = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return DynamicIDError("curate", f"A worker failed: {last}.", "Run it again; it continues where it stopped.")
