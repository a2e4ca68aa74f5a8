"""Finding search methods of other packages by prefix."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tunesmith import integrations
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.samplers import QMCSampler, RandomSampler, TPESampler


def test_own_methods_pass_through() -> None:
    assert integrations.get_sampler("sobol", seed=3) == QMCSampler(scramble=True, seed=3)
    assert integrations.get_sampler(None) == TPESampler()
    instance = RandomSampler(seed=1)
    assert integrations.get_sampler(instance) is instance


def test_unknown_prefix() -> None:
    with pytest.raises(InvalidValueError, match=r"'hyperopt' in the sampler 'hyperopt:tpe'; known: .*optuna:\.\.\."):
        integrations.get_sampler("hyperopt:tpe")


def test_a_new_module_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No registry: a file in the room is enough."""
    (tmp_path / "other.py").write_text(
        "from tunesmith.samplers import RandomSampler\n"
        "def sampler(name, **options):\n"
        "    return RandomSampler(**options) if name == 'chance' else name\n"
    )
    (tmp_path / "importer.py").write_text("")
    monkeypatch.setattr(integrations, "__path__", [*integrations.__path__, str(tmp_path)])
    try:
        assert integrations.get_sampler("other:chance", seed=4) == RandomSampler(seed=4)
        with pytest.raises(InvalidTypeError, match="no BaseSampler"):
            integrations.get_sampler("other:something")
        with pytest.raises(InvalidValueError, match="brings no search methods"):
            integrations.get_sampler("importer:tpe")
    finally:
        modules: dict[str, types.ModuleType | Any] = sys.modules
        for name in ("other", "importer"):
            modules.pop(f"tunesmith.integrations.{name}", None)
            vars(integrations).pop(name, None)
