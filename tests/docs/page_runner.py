"""Run the code blocks of one Markdown page, in order, and compare what they print with what the page shows.

    python page_runner.py PAGE.md        in an empty folder, which becomes the page's own

What a block is, is said by its language:

- ``python``: executed; all blocks of a page share one namespace. A comment ``# -> text`` behind or below a statement
  at the top level shows what it gives: what it prints, then the repr of its value. ``# -> raises Name: text`` is an
  exception. A statement that prints something the page does not show is an error.
- ``console``: lines after ``$`` are run by the shell in the page's folder; what follows is their output. Where no
  output is shown, none is compared.
- ``python`` or ``yaml`` whose first line is ``# file: name``: written to that file instead.
- ``sh`` and ``text`` are not run.

``...`` in an output stands for any text. A block below ``<!-- not run: reason -->`` is left alone. In the outputs of
one below ``<!-- numbers vary: reason -->`` any number matches any other, wherever the star of the best one stands.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import subprocess
import sys
import tokenize
import traceback
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LANGUAGES = {"python", "console", "yaml", "sh", "text"}
_FENCE = re.compile(r"```(\w*)\s*$")
_FILE = re.compile(r"# file: (\S+)\s*$")
_SHOWN = "# ->"


@dataclass
class Block:
    """A fenced block; ``line`` (1-based) is that of its first line of content."""

    language: str
    lines: list[str]
    line: int
    remark: str

    @property
    def file(self) -> str | None:
        """The file the block is, if it is one."""
        match = _FILE.match(self.lines[0]) if self.lines else None
        return match[1] if match else None


class Failure(Exception):
    """A page says what is not so."""


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    lines = text.splitlines()
    i = 0
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        if fence is None:
            if lines[i].startswith("```"):
                raise Failure(f"line {i + 1}: a fence is ``` and one word, not {lines[i]!r}")
            i += 1
            continue
        end = next((k for k in range(i + 1, len(lines)) if lines[k] == "```"), None)
        if end is None:
            raise Failure(f"line {i + 1}: the block does not end")
        before = next((line for line in reversed(lines[:i]) if line.strip()), "")
        yield Block(fence[1], lines[i + 1 : end], i + 2, before if before.startswith("<!-- ") else "")
        i = end + 1


def matches(shown: str, printed: str, numbers_vary: bool = False) -> bool:
    """Whether the output is what a page shows, where ``...`` is any text."""
    shown, printed = _tidy(shown), _tidy(printed)
    if numbers_vary:
        shown, printed = _without_numbers(shown), _without_numbers(printed)
    pattern = ".*".join(re.escape(part) for part in shown.split("..."))
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


def _without_numbers(text: str) -> str:
    text = re.sub(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?", "0", text.replace("* ", ""))
    return re.sub(r"─+", "─", re.sub(r"[ \t]+", " ", text))


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def _bar(text: str) -> str:
    return "\n".join(f"    | {line}" for line in _tidy(text).splitlines() or ["(nothing)"])


class Page:
    """One page with its namespace; the current folder is its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wrong: list[str] = []  # outputs that are not what the page shows; the page goes on after them
        self.module = types.ModuleType("page")
        sys.modules["page"] = self.module
        sys.path.insert(0, os.getcwd())

    def run(self) -> int:
        """Run every block; return how many were run.

        Raises:
            Failure: with everything that is wrong.
        """
        done = 0
        for block in blocks(self.path.read_text(encoding="utf-8")):
            if block.language not in LANGUAGES:
                raise Failure(f"line {block.line}: a block in {block.language!r}; known: {sorted(LANGUAGES)}")
            if block.remark.startswith("<!-- not run: ") or block.language in ("sh", "text"):
                continue
            done += 1
            if block.file:
                Path(block.file).parent.mkdir(exist_ok=True)
                Path(block.file).write_text("\n".join(block.lines[1:]).lstrip("\n") + "\n", encoding="utf-8")
            elif block.language == "console":
                self.run_console(block)
            elif block.language == "python":
                self.run_python(block)
            else:
                raise Failure(f"line {block.line}: yaml is shown as a file; let it begin with `# file: name`")
        if self.wrong:
            raise Failure("\n\n".join(self.wrong))
        return done

    def _compare(self, where: str, what: str, shown: str, printed: str, numbers_vary: bool = False) -> None:
        if not matches(shown, printed, numbers_vary):
            self.wrong.append(f"{where}: {what}\nthe page shows\n{_bar(shown)}\nbut it gives\n{_bar(printed)}")

    def _where(self, line: int) -> str:
        return f"{self.path.name}, line {line}"

    # -- console -------------------------------------------------------------------------------------------------

    def run_console(self, block: Block) -> None:
        """Run each command of a block."""
        command, first, shown = "", 0, []
        vary = block.remark.startswith("<!-- numbers vary: ")
        for offset, line in enumerate(block.lines):
            if line.startswith("$ ") or command.endswith("\\"):
                if not command.endswith("\\"):
                    self._run_command(command, first, shown, vary)
                    command, first, shown = line[2:], block.line + offset, []
                else:
                    command += "\n" + line
            elif not command:
                raise Failure(f"{self._where(block.line + offset)}: a console block begins with `$ command`")
            else:
                shown.append(line)
        self._run_command(command, first, shown, vary)

    def _run_command(self, command: str, line: int, shown: list[str], numbers_vary: bool) -> None:
        if not command:
            return
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
        environment |= {
            "PATH": os.path.dirname(sys.executable) + os.pathsep + environment.get("PATH", ""),
            "COLUMNS": "110", "NO_COLOR": "1", "PYTHONWARNINGS": "default", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        done = subprocess.run(
            command, shell=True, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, timeout=100, check=False,
        )  # fmt: skip
        expects_error = any(text.startswith("error: ") for text in shown)
        if (done.returncode != 0) != expects_error:
            raise Failure(f"{self._where(line)}: `{command}` exits with {done.returncode}:\n{_bar(done.stdout)}")
        if any(text.strip() for text in shown):
            self._compare(self._where(line), f"`{command}`", "\n".join(shown), done.stdout, numbers_vary)

    # -- Python --------------------------------------------------------------------------------------------------

    def run_python(self, block: Block) -> None:
        """Run a block statement by statement."""
        source = "\n" * (block.line - 1) + "\n".join(block.lines) + "\n"
        statements = ast.parse(source, str(self.path)).body
        shown = _shown(source)
        ends = [_first_line(s) for s in statements[1:]] + [block.line + len(block.lines)]
        for statement, end in zip(statements, ends, strict=True):
            expected = [shown.pop(k) for k in sorted(shown) if _first_line(statement) <= k < end]
            self._run_statement(statement, "\n".join(expected) if expected else None)
        if shown:
            raise Failure(f"{self._where(min(shown))}: an output without a statement")

    def _run_statement(self, statement: ast.stmt, expected: str | None) -> None:
        where = self._where(_first_line(statement))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = _print_warning
            try:
                value = self._execute(statement)
            except BaseException as error:
                if expected is None or "raises " not in expected:
                    raise Failure(f"{where}: {traceback.format_exc()}") from None
                print(f"raises {type(error).__name__}: {error}")
                value = None
        text = printed.getvalue()
        if expected is not None:
            text += "" if value is None else repr(value)
            self._compare(where, ast.unparse(statement).splitlines()[0], expected, text)
        elif text:
            self.wrong.append(f"{where}: it prints what the page does not show:\n{_bar(text)}")

    def _execute(self, statement: ast.stmt) -> Any:
        if isinstance(statement, ast.Expr):
            return eval(compile(ast.Expression(statement.value), str(self.path), "eval"), vars(self.module))
        exec(compile(ast.Module([statement], []), str(self.path), "exec"), vars(self.module))
        return None


def _first_line(statement: ast.stmt) -> int:
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(d.lineno for d in decorators)])


def _shown(source: str) -> dict[int, str]:
    """Line -> the output that a comment there shows."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.string.startswith(_SHOWN):
            found[token.start[0]] = token.string.removeprefix(_SHOWN).removeprefix(" ")
    return found


def _print_warning(message: Any, category: Any, *rest: Any, **named: Any) -> None:
    print(f"{category.__name__}: {message}")


def main(page: str) -> int:
    """Run a page; print what failed."""
    import tunesmith

    tunesmith.logging.set_verbosity(tunesmith.logging.ERROR)
    shown = Page(Path(page))
    try:
        done = shown.run()
    except Failure as failure:
        print(*dict.fromkeys([*shown.wrong, str(failure)]), sep="\n\n")
        return 1
    print(f"{done} blocks")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
