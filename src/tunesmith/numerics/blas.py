"""One thread for small matrices.

A Gaussian process of some hundred points makes thousands of calls that take microseconds. Threads of OpenBLAS that wait
for each other, or for a core that another process has, make each of them a thousand times slower, and the sums they
divide among themselves depend on their number.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_lock = threading.Lock()
_holders = 0
_limit: Any = None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within it, linear algebra of this process uses one thread, if threadpoolctl is installed.

    Several threads may be in it at once; the last to leave restores the number there was.
    """
    global _holders, _limit
    with _lock:
        if _holders == 0 and (pools := _pools()) is not None:
            _limit = pools.limit(limits=1, user_api="blas")
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0 and _limit is not None:
                _limit.restore_original_limits()
                _limit = None


@lru_cache(maxsize=1)
def _pools() -> Any:
    """The libraries that are loaded by now, ``numpy.linalg`` and ``scipy.linalg`` among them."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()
