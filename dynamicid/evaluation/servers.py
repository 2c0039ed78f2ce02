"""Shares jobs between ComfyUI servers: each takes the next one when it is free; those of a server that dies go on."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from ..errors import DynamicIDError
from .comfy_client import ComfyClient, ServerError

logger = logging.getLogger(__name__)
Job = TypeVar("Job")
Result = TypeVar("Result")
_LOOK_SECONDS = 0.5


class _Stopped(Exception):
    """The jobs of the other servers are no longer wanted."""


def no_server(client: ComfyClient, error: ServerError) -> DynamicIDError:
    """The error for a run that cannot go on without this server."""
    remedy = "Start ComfyUI, name its address, and run the command again: painted pictures are kept."
    return DynamicIDError(client.address, str(error), remedy)


def share_jobs(
    jobs: Sequence[Job],
    clients: list[ComfyClient],
    work: Callable[[ComfyClient, Job, Callable[[], None]], Result],
    on_end: Callable[[Job, Future[Result]], None],
) -> None:
    """Does every job once, on as many servers as there are.

    Args:
        jobs: Begun in this order.
        clients: One server each. One that does not answer is left: it is taken off the list, and its job is the next
            to be begun on another.
        work: (server, job, on_poll) -> result, in a thread of the server. ``on_poll`` is for ``ComfyClient.run``.
        on_end: Called in the caller's thread with each job and its result or exception, other than ``ServerError``.
            What it raises stops the jobs that are under way.

    Raises:
        DynamicIDError: No server is left.
    """
    pending, free, running = deque(jobs), deque(clients), {}
    stop = threading.Event()

    def on_poll() -> None:
        if stop.is_set():
            raise _Stopped

    with ThreadPoolExecutor(max(len(clients), 1)) as pool:
        try:
            while pending or running:
                while pending and free:
                    client, job = free.popleft(), pending.popleft()
                    running[pool.submit(work, client, job, on_poll)] = client, job
                # Windows delivers Ctrl-C only between two looks.
                for future in wait(running, _LOOK_SECONDS, FIRST_COMPLETED).done:
                    client, job = running.pop(future)
                    error = future.exception()
                    if isinstance(error, ServerError):
                        clients.remove(client)
                        if not clients:
                            raise no_server(client, error) from error
                        logger.warning("%s is left: %s Its picture goes to another server.", client.address, error)
                        pending.appendleft(job)
                    else:
                        free.append(client)
                        on_end(job, future)
        finally:
            stop.set()
