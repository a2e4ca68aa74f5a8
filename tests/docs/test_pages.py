"""What the pages say about the code that no block shows: layers, events, links; and the runner of the blocks itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tunesmith import events
from tunesmith.fold import Fold

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PATTERN = (ROOT / "docs" / "pattern.md").read_text(encoding="utf-8")


def test_the_layers_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    block = re.search(r"<!-- layers: .*? -->\n```text\n(.*?)\n```", PATTERN, re.DOTALL)
    assert block is not None
    shown = [re.split(r"\s{2,}", line)[0] for line in block[1].splitlines()]
    assert shown == [layer.replace("tunesmith.", "") for layer in layers]


def test_every_event_is_described() -> None:
    described = re.findall(r"^- ``(\w+)``:", events.__doc__ or "", re.MULTILINE)
    assert sorted(described) == sorted(Fold()._handlers)
    section = PATTERN.partition("## The words of the log")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", section)) >= set(described)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"https?:", path):
            continue
        found = page.parent / path if path else page
        assert found.exists(), target
        if anchor and found.suffix == ".md":
            titles = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}, target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:src|docs|examples|benchmarks|scripts|tests)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), f"{page.name} names {name}"
    for name in re.findall(r"`((?:study|storages|samplers|pruners|integrations|train)/[\w./]*)`", text):
        assert (ROOT / "src" / "tunesmith" / name).exists(), f"{page.name} names {name}"


# -- the runner ----------------------------------------------------------------------------------------------------


def ran(page_runner: ModuleType, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The number of blocks that were run, or what the runner found wrong."""
    (folder / "page.md").write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    page = page_runner.Page(folder / "page.md")
    try:
        return page.run()
    except page_runner.Failure as failure:
        return str(failure)


GOOD = """
```python
x = 1
x + 1        # -> 2
print("a")   # -> a
for i in range(2):
    print(i)
# -> 0
# -> 1
x / 0        # -> raises ZeroDivisionError: division...
```

```python
# file: made.py
print("made", 3)
```

```console
$ python made.py
made 3
$ echo not shown
```

```python
"a long text"  # -> 'a...text'
```
"""


def test_a_good_page_runs(page_runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ran(page_runner, GOOD, tmp_path, monkeypatch) == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("x + 1        # -> 2", "x + 1        # -> 3", "line 4: x + 1"),
        ("# -> 1\n", "", "line 6: for i in range(2)"),
        ('print("a")   # -> a', 'print("a")', "prints what the page does not show"),
        ("x / 0        # -> raises ZeroDivisionError: division...", "x / 0", "ZeroDivisionError"),
        ("x / 0        # -> raises ZeroDivisionError: division...", "x  # -> raises ZeroDivisionError", "line 10"),
        ("made 3", "made 4", "`python made.py`"),
        ("echo not shown", "false", "exits with 1"),
        ("```python\n# file", "```ruby\n# file", "'ruby'"),
        ("'a...text'", "'b...text'", "a long text"),
        ("x = 1\n", "x = 1\n# -> 1\n", "line 3"),
    ],
)
def test_what_is_wrong_is_found(
    page_runner: ModuleType, old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert old in GOOD
    assert message in str(ran(page_runner, GOOD.replace(old, new), tmp_path, monkeypatch))


def test_numbers_may_vary_where_the_page_says_so(
    page_runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "{}\n```console\n$ echo 'a  12.5 ± 3 %  * 0.1'\na    * 9 ± 4.75 %     7e-05\n```\n"
    assert ran(page_runner, page.format("<!-- numbers vary: of course -->"), tmp_path, monkeypatch) == 1
    assert "the page shows" in ran(page_runner, page.format("Numbers:"), tmp_path, monkeypatch)
    assert ran(page_runner, page.format("<!-- not run: of course -->"), tmp_path, monkeypatch) == 0
