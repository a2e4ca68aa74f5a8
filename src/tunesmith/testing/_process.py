"""Other Python processes for the conformance kits: with this one's ``sys.path``, and ended when they are stuck."""

from __future__ import annotations

import faulthandler
import importlib
import importlib.util
import json
import os
import sys
import threading
from types import ModuleType
from typing import Any


def python(code: str, *arguments: str) -> list[str]:
    """The command line of a process that runs ``code``; the arguments are ``sys.argv[1:]``, ``sys.path`` is ours."""
    begin = "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); "
    return [sys.executable, "-c", begin + code, json.dumps(sys.path), *arguments]


def command(job: str, subject: type, patience: int, *arguments: str) -> list[str]:
    """The command line of a process that calls a function with a class and strings.

    Args:
        job: ``"module:function"``.
        subject: the class, found again by its module and name (or the module's file).
        patience: after so many seconds the process shows where it is, and dies.
        arguments: of the function, behind the class.
    """
    code = "from tunesmith.testing._process import main; main(*sys.argv[1:])"
    return python(code, job, str(patience), *place(subject), *arguments)


def main(job: str, patience: str, module: str, file: str, name: str, *arguments: str) -> None:
    """What runs in the other process."""
    give_up_after(int(patience))
    subject = found(module, file, name)
    where, _, function = job.partition(":")
    getattr(importlib.import_module(where), function)(subject, *arguments)


def give_up_after(seconds: float) -> threading.Timer:
    """Unless it is cancelled, the process shows where it is after so many seconds, and dies."""
    watch = threading.Timer(seconds, _give_up)  # not faulthandler's, which forked children would wait for
    watch.daemon = True
    watch.start()
    return watch


def _give_up() -> None:
    faulthandler.dump_traceback()
    os._exit(1)


def place(subject: type) -> list[str]:
    """Where another process finds a class: its module, the module's file, and its name there."""
    file = getattr(sys.modules[subject.__module__], "__file__", None) or ""
    return [subject.__module__, file, subject.__qualname__]


def found(module: str, file: str, name: str) -> Any:
    """The class at such a place."""
    subject: Any = _module(module, file)
    for part in name.split("."):
        subject = getattr(subject, part)
    return subject


def _module(name: str, file: str) -> ModuleType:
    """A module by its name, or by its file: pytest imports test modules under names that nobody else can import."""
    try:
        return importlib.import_module(name)
    except ImportError:
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
