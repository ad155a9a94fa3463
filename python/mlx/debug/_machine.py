"""What this machine can do at best, measured when somebody asks and kept for the process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import mlx.core as mx

from ._nan_check import unwatched


@dataclass(frozen=True)
class Machine:
    """The limits that operations are compared with."""

    bandwidth: float
    """Bytes per second between memory and all threads, for a sum of two arrays larger than caches."""
    flops: float
    """Float32 operations per second of multiply-adds on all threads; one is two operations."""

    @property
    def known(self) -> bool:
        """Whether there is something to compare with."""
        return self.bandwidth > 0 and self.flops > 0

    def least_ns(self, nbytes: float, operations: float) -> float:
        """The time that so much traffic and arithmetic take at least."""
        return 1e9 * max(nbytes / self.bandwidth, operations / self.flops)


@lru_cache(maxsize=1)
def machine() -> Machine:
    """The limits of this machine; the first call measures them, in a fraction of a second."""
    elements = 1 << 24
    with unwatched(), mx.stream(mx.cpu):
        a, b = mx.zeros((elements,)) + 1, mx.zeros((elements,)) + 2
        mx.eval(a, b)
        best = float("inf")
        for _ in range(6):
            begin = time.perf_counter()
            c = a + b
            mx.eval(c)
            best = min(best, time.perf_counter() - begin)
            del c
    return Machine(bandwidth=3 * 4 * elements / best, flops=mx._multiply_add_peak())
