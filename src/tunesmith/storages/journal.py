"""The customary spelling ``storages.journal.JournalFileBackend``; the code is in ``file.py``."""

from tunesmith.storages import JournalFileBackend, JournalStorage

__all__ = ["JournalFileBackend", "JournalStorage"]
