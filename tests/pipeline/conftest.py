"""One thread and a fresh Accelerate, as in the tests of the training."""

from ..training.conftest import _fresh_accelerator, _one_thread

__all__ = ["_fresh_accelerator", "_one_thread"]
