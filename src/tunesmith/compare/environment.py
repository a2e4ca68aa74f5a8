"""Versions and hardware, so that a result can be judged and repeated."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

from tunesmith._machine import cores, processor

_PACKAGES = ("tunesmith", "numpy", "scipy", "torch", "scikit-learn", "optuna")


def environment() -> dict[str, Any]:
    """``{"versions": {...}, "hardware": {...}}``; looks packages up without importing them."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    hardware: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}", "machine": platform.machine(),
        "processor": processor(), "cores": cores(),
    }  # fmt: skip
    memory = _memory_gib()
    if memory is not None:
        hardware["memory"] = f"{memory:.1f} GiB"
    hardware |= _torch_hardware()
    return {"versions": versions, "hardware": hardware}


def _memory_gib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return None


def _torch_hardware() -> dict[str, Any]:
    """What torch computes on; only when something has imported it already."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda"):
        return {}
    found: dict[str, Any] = {"torch threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name(0)
    return found
