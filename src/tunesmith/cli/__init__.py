"""The command line. Thin adapters: everything they do can be done from Python.

Importing this package imports nothing heavy, so that ``tunesmith --help`` answers at once.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The entry point of the ``tunesmith`` command."""
    from tunesmith.cli.app import run

    run()
