"""Data sets, one file each: ``load() -> Dataset``. The file's name (hyphens for underscores) is the set's name."""
