"""Conditions such as ``"n_layers >= 3 and optimizer == 'sgd'"``: parsed, checked, evaluated; never executed.

Only comparisons, membership, ``and``/``or``/``not``, literals and parameter names are understood, so a condition may
come from a YAML file or a log without any risk.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_MAX_LENGTH = 2000
_MAX_DEPTH = 50


class Condition:
    """One parsed condition.

    Attributes:
        text: the expression as written.
        names: the parameter names it reads.
    """

    __slots__ = ("_tree", "names", "text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise InvalidTypeError(f'A condition is a string such as "n_layers >= 3", not {text!r}.')
        if len(text) > _MAX_LENGTH:
            raise InvalidValueError(f"A condition of {len(text)} characters is too long (at most {_MAX_LENGTH}).")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise InvalidValueError(f"The condition {text!r} cannot be parsed: {error}.") from None
        self.text = text
        self.names: set[str] = set()
        self._check(tree, 0)
        if not self.names:
            raise InvalidValueError(f"The condition {text!r} reads no parameter.")
        self._tree = tree

    def _check(self, node: ast.expr, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise InvalidValueError(f"The condition {self.text[:80]!r}... is nested too deeply (at most {_MAX_DEPTH}).")
        children: list[ast.expr] = []
        if isinstance(node, ast.Name):
            self.names.add(node.id)
        elif isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
            children = [node.left, *node.comparators]
        elif isinstance(node, ast.BoolOp):
            children = node.values
        elif isinstance(node, (ast.Tuple, ast.List)):
            children = node.elts
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            children = [node.operand]
        elif not isinstance(node, ast.Constant):
            raise InvalidValueError(
                f"The condition {self.text!r} uses {ast.get_source_segment(self.text.strip(), node)!r}; only "
                "comparisons (but not `is`), `in`, `and`, `or`, `not`, literals and parameter names are understood."
            )
        for child in children:
            self._check(child, depth + 1)

    def __call__(self, params: Mapping[str, Any]) -> bool:
        """Whether the condition holds for the active ``params``; a missing (inactive) parameter makes it false."""
        if any(name not in params for name in self.names):
            return False
        try:
            return bool(_evaluate(self._tree, params))
        except TypeError as error:
            shown = {name: params[name] for name in sorted(self.names)}
            raise InvalidValueError(f"The condition {self.text!r} cannot be evaluated for {shown}: {error}.") from None

    def given(self, known: Mapping[str, Any]) -> bool | str:
        """What is left of the condition when these parameters are active and have these (plain) values.

        Returns:
            True or False if that decides it, else a condition that reads the others only.
        """
        if self.names <= known.keys():
            return self(known)
        if not self.names & known.keys():
            return self.text
        tree = ast.parse(self.text.strip(), mode="eval")
        return ast.unparse(_Filled(known).visit(tree))


class _Filled(ast.NodeTransformer):
    """Puts values in the place of names."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self._known[node.id]) if node.id in self._known else node


def _evaluate(node: ast.expr, params: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return params[node.id]
        case ast.Tuple() | ast.List():
            return tuple(_evaluate(child, params) for child in node.elts)
        case ast.UnaryOp(op=ast.Not()):
            return not _evaluate(node.operand, params)
        case ast.UnaryOp():
            return -_evaluate(node.operand, params)
        case ast.BoolOp(op=ast.And()):
            return all(_evaluate(child, params) for child in node.values)
        case ast.BoolOp():
            return any(_evaluate(child, params) for child in node.values)
        case ast.Compare():
            left = _evaluate(node.left, params)
            for op, child in zip(node.ops, node.comparators, strict=True):
                right = _evaluate(child, params)
                if not _COMPARE[type(op)](left, right):
                    return False
                left = right
            return True
    raise InvalidValueError(f"{ast.unparse(node)!r} is not understood.")  # unreachable after _check
