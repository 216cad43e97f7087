"""Consenting customers to ad partners, hashed; withdrawals taken back; every transfer logged."""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8  # of glibc's mallopt


def _share_memory_between_threads() -> None:
    """Let threads use each other's free memory, which by default each keeps to itself.

    A tenth less memory and time where columns pass from thread to thread. It must be said before
    Polars is loaded, whose allocator looks once; other systems' allocators are left alone.
    """
    os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:2")
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (AttributeError, OSError, TypeError):
        return


def _start_no_idle_threads() -> None:
    """Keep NumPy's linear algebra, which nothing here uses, from starting a thread a core.

    They cost half of NumPy's import, more on a larger machine, and none would outlive a fork.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


_share_memory_between_threads()
_start_no_idle_threads()
