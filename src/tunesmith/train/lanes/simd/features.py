"""How many lanes this machine's processor has."""

from __future__ import annotations

import importlib.util
import platform
from functools import cache
from typing import Any


@cache
def lanes() -> tuple[int, str]:
    """Lanes of a register, 16 with AVX-512 or 8 with AVX2 and FMA; or 0 and the reason why there are none."""
    if importlib.util.find_spec("numba") is None:
        return 0, "SIMD lanes need numba: pip install 'tunesmith[train]'"
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return 0, f"SIMD lanes are written for x86-64 processors, not for {platform.machine()}"
    from llvmlite import binding
    from numba import config as numba_config

    config: Any = numba_config
    if config.DISABLE_JIT:
        return 0, "SIMD lanes are compiled, but NUMBA_DISABLE_JIT is set"
    if config.CPU_FEATURES is not None:  # what numba compiles for instead
        has = {name[1:] for name in config.CPU_FEATURES.split(",") if name.startswith("+")}
    else:
        has = {name for name, there in binding.get_host_cpu_features().items() if there}
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= has:
        return 16, ""
    if {"avx2", "fma"} <= has:
        return 8, ""
    return 0, "SIMD lanes need a processor with AVX2 and FMA"
