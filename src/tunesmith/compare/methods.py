"""From what a user writes (``"pso(inertia=0.7)"``, ``"tpe+asha"``, a mapping) to the methods that are compared."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tunesmith.compare.rules import rule_for
from tunesmith.distributions import CategoricalDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.integrations import get_sampler
from tunesmith.pruners import BasePruner
from tunesmith.samplers import BaseSampler
from tunesmith.space import Space


@dataclass(frozen=True)
class MethodSpec:
    """One method as asked for.

    Attributes:
        label: how tables call it; unique within a comparison.
        name: of the sampler, with a prefix for others' (``"optuna:tpe"``); "" when ``instance`` is given.
        options: arguments of the sampler.
        instance: a ready sampler.
        rule: the stopping rule: a short name, a ready one, or None for none.
        rule_options: arguments of the rule, if it is a name.
    """

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    instance: BaseSampler | None = None
    rule: str | BasePruner | None = None
    rule_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """A canonical form: equal texts mean equal methods."""
        sampler = _called(self.name, self.options) if self.instance is None else repr(self.instance)
        return sampler if self.rule is None else f"{sampler}+{self.rule_text}"

    @property
    def rule_text(self) -> str:
        """The rule's canonical form; "" for none."""
        if self.rule is None:
            return ""
        return _called(self.rule, self.rule_options) if isinstance(self.rule, str) else repr(self.rule)


def _called(name: str, options: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in sorted(options.items()))})" if options else name


@dataclass(frozen=True)
class ReadyMethod:
    """A method whose sampler exists.

    Attributes:
        spec: what it was asked for as.
        sampler: shared by its studies (samplers keep nothing between calls).
        variant: what the budget changed about it ("" if nothing), e.g. ``"5x5"`` for a grid, ``"25 trials"`` for a
            sampler or a rule that uses its budget; part of the study names, because another budget makes another
            search.
        note: what a reader should know.
        rule: its stopping rule, None if its trials run to their ends.
    """

    spec: MethodSpec
    sampler: BaseSampler
    variant: str = ""
    note: str = ""
    rule: BasePruner | None = None

    def study_name(self, repeat: int) -> str:
        """``"sobol/repeat-03"``, ``"grid[5x5]/repeat-03"``."""
        variant = f"[{self.variant}]" if self.variant else ""
        return f"{self.spec.label}{variant}/repeat-{repeat:02d}"

    def budget(self, trials: int) -> int | None:
        """What its studies are told as their ``budget``: the number of trials, if the sampler depends on it."""
        return trials if self.sampler.uses_budget else None

    def n_initial(self, space: Space) -> int:
        """How many configurations the sampler chooses before it looks at results (0 when it does not say)."""
        ask = getattr(self.sampler, "n_initial", None)
        if callable(ask):
            return int(ask(space))
        return int(ask) if isinstance(ask, int) else 0


# -- parsing -------------------------------------------------------------------------------------------------------


def split_methods(text: str) -> list[str]:
    """``"grid,pso(inertia=0.7,topology=ring)"`` -> its methods; commas within brackets do not separate."""
    return [part for part in _split_top(text, ",") if part]


def _split_top(text: str, separator: str) -> list[str]:
    """The parts between separators that stand outside of brackets; one that is unclosed takes the rest."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == separator and depth <= 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return [*parts, text[start:].strip()]


def parse_methods(methods: str | Sequence[Any] | Mapping[str, Any]) -> list[MethodSpec]:
    """Read what a user may write.

    Args:
        methods: a list (or a comma-separated string) of methods, or a mapping label -> method. A method is a name
            (``"sobol"``), a name with options (``"pso(inertia=0.7)"``), ``{"pso": {"inertia": 0.7}}``,
            ``{"name": "pso", "options": {...}, "label": "..."}``, or a sampler. With a stopping rule:
            ``"tpe+asha"``, ``"random+hyperband(max_resource=27)"``, ``{"name": "tpe", "rule": "asha",
            "rule_options": {...}}``, or a pair ``(sampler, rule)`` of names or instances.

    Raises:
        InvalidValueError: for a text that cannot be read, no method at all, or one label twice.
        InvalidTypeError: for anything else.
    """
    if isinstance(methods, str):
        methods = split_methods(methods)
    if isinstance(methods, Mapping):
        specs = [_parse(value, str(label)) for label, value in methods.items()]
    elif isinstance(methods, Iterable):
        specs = [_parse(value, None) for value in methods]
    else:
        raise InvalidTypeError(f"`methods` must be a list of methods such as ['random', 'sobol'], not {methods!r}.")
    if not specs:
        raise InvalidValueError("`methods` is empty; name at least one, such as 'random'.")
    labels = [spec.label for spec in specs]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise InvalidValueError(f"The methods {twice} appear twice; give each a label of its own ({{label: method}}).")
    return specs


def _parse(value: Any, label: str | None) -> MethodSpec:
    if isinstance(value, BaseSampler):
        return MethodSpec(label or _name_of(value), "", {}, value)
    if isinstance(value, str):
        return replace(_parse_text(value), label=label or value.strip())
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], (str, BaseSampler)):
        sampler, rule = value
        spec = _with_rule(_parse(sampler, None), rule, {})
        second = rule.strip() if isinstance(rule, str) else _name_of(rule)
        return replace(spec, label=label or f"{spec.label}+{second}")
    if isinstance(value, Mapping):
        return _parse_mapping(value, label)
    raise InvalidTypeError(
        "A method is a name such as 'sobol' or 'tpe+asha', a mapping such as {'pso': {'inertia': 0.7}}, a sampler, or "
        f"a pair of a sampler and a stopping rule, not {value!r}."
    )


def _name_of(part: BaseSampler | BasePruner) -> str:
    """``RandomSampler`` -> ``random``."""
    return type(part).__name__.removesuffix("Sampler").removesuffix("Pruner").lower()


def _parse_mapping(value: Mapping[str, Any], label: str | None) -> MethodSpec:
    rule: Any = None
    rule_options: Any = {}
    if "name" in value:
        if unknown := sorted(map(str, set(value) - _KEYS)):
            raise InvalidValueError(f"Unknown keys {unknown} of a method; known: {sorted(_KEYS)}.")
        spec = _parse_text(str(value["name"]))
        extra, label = value.get("options") or {}, value.get("label", label)
        rule, rule_options = value.get("rule"), value.get("rule_options") or {}
    elif len(value) == 1:
        key, extra = next(iter(value.items()))
        spec = _parse_text(str(key))
        extra = extra or {}
    else:
        raise InvalidValueError(f"A method is written as {{name: {{option: value}}}}, but this is {dict(value)!r}.")
    for name, given in ((spec.name, extra), ("rule_options", rule_options)):
        if not isinstance(given, Mapping):
            raise InvalidTypeError(f"The options of {name!r} must be a mapping, but are {given!r}.")
        if wrong := [key for key in given if not isinstance(key, str)]:
            raise InvalidTypeError(f"The options of {name!r} have names, but one is called {wrong[0]!r}.")
    spec = replace(spec, options={**spec.options, **extra})
    if rule is not None or rule_options:
        spec = _with_rule(spec, rule, rule_options)
    return replace(spec, label=str(label) if label is not None else spec.text)


_KEYS = {"name", "label", "options", "rule", "rule_options"}


def _with_rule(spec: MethodSpec, rule: Any, options: Mapping[str, Any]) -> MethodSpec:
    if spec.rule is not None:
        raise InvalidValueError(f"The method {spec.text!r} names a rule already; leave `rule` and `rule_options` out.")
    if isinstance(rule, str):
        name, own = _parse_call(rule)
        return replace(spec, rule=name, rule_options={**own, **options})
    if not isinstance(rule, BasePruner):
        raise InvalidTypeError(f"The `rule` of {spec.text!r} must be a stopping rule or its name, but is {rule!r}.")
    if options:
        raise InvalidValueError(f"`rule_options` are for a rule that is named; {rule!r} has its own.")
    return replace(spec, rule=rule)


def _parse_text(text: str) -> MethodSpec:
    """``"pso(inertia=0.7)+asha"``; the label is left open."""
    parts = _split_top(text, "+")
    if len(parts) > 2:
        raise InvalidValueError(
            f"The method {text!r} has {len(parts) - 1} stopping rules; write it as 'sampler+rule', and join rules by "
            "an AnyOfPruner: (sampler, AnyOfPruner([...]))."
        )
    name, options = _parse_call(parts[0])
    spec = MethodSpec("", name, options)
    return spec if len(parts) == 1 else _with_rule(spec, parts[1], {})


def _parse_call(text: str) -> tuple[str, dict[str, Any]]:
    """``"pso(inertia=0.7, topology=ring)"`` -> name and options; a bare word is a string."""
    name, bracket, rest = text.strip().partition("(")
    name = name.strip()
    if not name:
        raise InvalidValueError(f"The method {text!r} has no name.")
    if not bracket:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
    except SyntaxError:
        call = None
    if not isinstance(call, ast.Call) or call.args or not isinstance(call.func, ast.Name):
        raise InvalidValueError(f"The method {text!r} cannot be read; write it as 'pso(inertia=0.7, topology=ring)'.")
    return name, {str(k.arg): _literal(k.value, text) for k in call.keywords if k.arg is not None}


def _literal(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Name):
        return {"true": True, "false": False, "null": None, "none": None}.get(node.id.lower(), node.id)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise InvalidValueError(
            f"An option of {text!r} is no plain value; numbers, words, quoted texts, lists and true/false are."
        ) from None


# -- samplers ------------------------------------------------------------------------------------------------------


def method_sampler(method: MethodSpec | Any, space: Space, trials: int, steps: int | None = None) -> ReadyMethod:
    """The sampler (and the stopping rule) of a method for a budget.

    Args:
        method: as parsed, or anything :func:`parse_methods` takes as one.
        space: what is searched.
        trials: the budget of a study; a grid is laid out for it, as are samplers that use their budget.
        steps: of a whole training; only methods with a rule need it.

    Raises:
        InvalidValueError: an unknown method or rule, impossible options, or a rule that cannot be compared.
        MissingDependencyError: the package behind an adapter is not installed.
    """
    spec = method if isinstance(method, MethodSpec) else parse_methods([method])[0]
    if spec.instance is None and spec.name.lower() == "grid" and not {"search_space"} & set(spec.options):
        ready = _grid(spec, space, trials)
    else:
        sampler = spec.instance if spec.instance is not None else get_sampler(spec.name, **spec.options)
        ready = ReadyMethod(spec, sampler, _planned(trials) if sampler.uses_budget else "")
    if spec.rule is None:
        return ready
    rule, planned = rule_for(spec.rule, spec.rule_options, spec.label, trials, steps)
    variants = dict.fromkeys(v for v in (ready.variant, _planned(trials) if planned else "") if v)
    note = f"its sampler plans for {_planned(trials)}, but its rule lets it begin more." * ready.sampler.uses_budget
    return replace(ready, rule=rule, variant=", ".join(variants), note=ready.note or note)


def _planned(trials: int) -> str:
    return f"{trials} trial{'s' * (trials != 1)}"


def _grid(spec: MethodSpec, space: Space, trials: int) -> ReadyMethod:
    """A grid laid out for the budget (or with the ``points`` asked for), and what became of the space in it."""
    cls = type(get_sampler("grid"))
    options = dict(spec.options)
    if "points" in options:
        sampler = cls.from_space(space, **options)  # type: ignore[attr-defined]
    else:
        sampler = cls.within(space, trials, **options)  # type: ignore[attr-defined]
    levels = {name: len(values) for name, values in sampler.search_space.items()}
    cells = int(sampler.n_cells)
    layout = " x ".join(map(str, levels.values()))
    note = f"a grid of {layout} = {cells} cells ({', '.join(f'{name} {n}' for name, n in levels.items())})"
    if cells != math.prod(levels.values()):
        note = note.replace(f"{layout} = {cells} cells", f"{layout}, {cells} different cells")
    if cells < trials and spec.rule is None:
        note += f", so its runs have {cells} of {trials} trials"
    elif cells > trials and spec.rule is None:
        note += f", of which {trials} are evaluated"
    kept = [name for name, n in levels.items() if n == 1 and not space[name].single()]
    middle = [name for name in kept if not isinstance(space[name], CategoricalDistribution)]
    if middle:
        note += f"; {', '.join(middle)} stay{'s' if len(middle) == 1 else ''} at the middle of the range"
    cut = [n for n, d in space.items() if isinstance(d, CategoricalDistribution) and levels[n] < len(d.choices)]
    if cut:
        note += f"; not all choices of {', '.join(cut)} fit"
    return ReadyMethod(spec, sampler, layout.replace(" ", ""), note + ".")


def sampler_seed(seed: int, label: str, repeat: int) -> int:
    """The seed of one study: from the comparison's seed, the method's label and the repeat; at most 2**32 - 1."""
    entropy = [seed, repeat, *label.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
