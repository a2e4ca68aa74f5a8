"""docs/reference.md is what the docstrings say, every public name has one, and their examples are right."""

from __future__ import annotations

import doctest
from types import ModuleType


def test_every_public_name_is_documented(script: ModuleType) -> None:
    assert script.undocumented(script.sections()) == []


def test_the_reference_is_current(script: ModuleType) -> None:
    text = script.render(script.sections())
    assert script.TARGET.read_text(encoding="utf-8") == text, "run: python scripts/make_reference.py"
    assert text == script.render(script.sections())


def test_every_public_module_and_class_has_its_place(script: ModuleType) -> None:
    text = script.TARGET.read_text(encoding="utf-8")
    first, others = script.module_names()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [*first, *others]
    for heading in ("Study", "create_study", "Trial", "FloatDistribution", "GridSampler", "MedianPruner", "RDBStorage"):
        assert text.count(f"\n### {heading}\n") == 1


def test_examples_in_docstrings(script: ModuleType) -> None:
    """``>>>`` examples of all public modules; at least one exists."""
    attempted = 0
    for section in script.sections():
        result = doctest.testmod(section.module)
        assert result.failed == 0, section.name
        attempted += result.attempted
    assert attempted > 0


def test_a_missing_docstring_is_found(script: ModuleType) -> None:
    module = ModuleType("tunesmith.invented")
    module.__doc__ = "A module."

    class Documented:
        """It is."""

        def method(self) -> None: ...

        @property
        def said(self) -> int:
            """Said."""
            return 1

    class Inheriting(Documented):
        """It is."""

        @property
        def said(self) -> int:
            return 2

    entries = [script.Entry("Documented", Documented), script.Entry("Inheriting", Inheriting)]
    made = [script.Section("tunesmith.invented", module, False, entries)]
    assert script.undocumented(made) == ["tunesmith.invented.Documented.method"]


def test_docstrings_become_markdown(script: ModuleType) -> None:
    doc = """Do ``this`` with :class:`~tunesmith.space.Space`.

Args:
    a: the first,
        on two lines.
    b, c: others.

Raises:
    InvalidValueError: it is. InvalidTypeError: or that.

Like so::

    x = 1
"""
    assert script.markdown(doc) == (
        "Do `this` with `space.Space`.\n\n*Args*\n\n- `a`: the first,\n  on two lines.\n- `b`, `c`: others.\n\n"
        "*Raises*\n\n- `InvalidValueError`: it is.\n- `InvalidTypeError`: or that.\n\nLike so:\n\n```text\nx = 1\n```"
    )
