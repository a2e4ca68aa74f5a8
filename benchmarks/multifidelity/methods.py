"""Methods by name.

A name is ``library:sampler+rule``; no library means tunesmith, no rule ``none``. Options are JSON in braces behind the
part they belong to: ``tpe{"multivariate": false}+hyperband{"max_resource": 50}``. ``topk`` is the baseline;
``topk{"first": 1, "n": 250}`` says how it spends its budget.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.common.names import versions
from benchmarks.multifidelity.hosts import Screen, TopKHost
from benchmarks.multifidelity.tables import AXES, CONFIGURATIONS, Draw
from tunesmith.executors.simulator import SimulatorExecutor

Run = Callable[[Draw, SimulatorExecutor, int, int], None]
"""(draw, executor, seed, budget in epochs): search until the executor's budget is used up."""

#: (Workers, budget) -> how the baseline spends it, by ``python -m benchmarks.multifidelity tune``.
SCREENS = {
    (1, 50): Screen(first=1, n=20),
    (1, 100): Screen(first=1, n=80),
    (1, 250): Screen(first=2, n=75),
    (1, 500): Screen(first=1, n=300),
    (1, 1000): Screen(first=2, n=350),
    (1, 2500): Screen(first=2, n=1000),
    (4, 50): Screen(first=1, n=20),
    (4, 100): Screen(first=1, n=60),
    (4, 250): Screen(first=1, n=100),
    (4, 500): Screen(first=1, n=300),
    (4, 1000): Screen(first=2, n=350),
    (4, 2500): Screen(first=2, n=1000),
    (16, 50): Screen(first=1, n=45),
    (16, 100): Screen(first=1, n=60),
    (16, 250): Screen(first=1, n=75),
    (16, 500): Screen(first=1, n=200),
    (16, 1000): Screen(first=1, n=400),
    (16, 2500): Screen(first=2, n=875),
}


@dataclass(frozen=True)
class Part:
    """A sampler or a rule by name.

    Attributes:
        name: of the library's.
        options: its arguments.
    """

    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A method that can be run.

    Attributes:
        name: as it was asked for.
        run: searches.
        anytime: whether it does not depend on the budget.
        versions: distribution -> version, of what it depends on.
    """

    name: str
    run: Run
    anytime: bool
    versions: dict[str, str]


def _tunesmith(sampler: Part, rule: Part) -> Run:
    import tunesmith as ts

    ts.logging.set_verbosity(ts.logging.CRITICAL)  # diverged runs fail, by the hundreds
    chosen = ts.samplers.get_sampler(sampler.name, **sampler.options)
    pruner = ts.pruners.get_pruner("nop" if rule.name == "none" else rule.name, **rule.options)
    space = ts.Space({axis.name: ts.Float(axis.low, axis.high, log=True) for axis in AXES})

    def run(draw: Draw, executor: SimulatorExecutor, seed: int, budget: int) -> None:
        def objective(trial: Any) -> Any:
            params = {axis.name: trial.suggest_float(axis.name, axis.low, axis.high, log=True) for axis in AXES}
            yield from draw.curve(draw.take(trial.number, params))

        study = ts.create_study(sampler=chosen, pruner=pruner, seed=seed, space=space)
        study.optimize(objective, CONFIGURATIONS, keep_paused=True, backend=executor)

    return run


def _topk(sampler: Part, rule: Part) -> Run:
    fixed = Screen(**sampler.options) if sampler.options else None

    def run(draw: Draw, executor: SimulatorExecutor, seed: int, budget: int) -> None:
        screen = fixed or SCREENS.get((executor.n_workers, budget))
        if screen is None:
            raise ValueError(
                f"There is no tuned screen for {executor.n_workers} workers and {budget} epochs; see the command tune."
            )
        executor.run(TopKHost(draw, screen, seed))

    return run


def _peer(name: str) -> Callable[[Part, Part], Run]:
    def make(sampler: Part, rule: Part) -> Run:
        from benchmarks.multifidelity import peers

        host = getattr(peers, name)(sampler, rule)

        def run(draw: Draw, executor: SimulatorExecutor, seed: int, budget: int) -> None:
            with host(draw, seed) as asked:
                executor.run(asked)

        return run

    return make


_LIBRARIES: dict[str, tuple[Callable[[Part, Part], Run], tuple[str, ...]]] = {
    # name -> (maker, distributions whose versions are noted)
    "tunesmith": (_tunesmith, ("tunesmith", "numpy")),
    "topk": (_topk, ("numpy",)),
    "optuna": (_peer("optuna"), ("optuna",)),
    "smac": (_peer("smac"), ("smac", "scikit-learn")),
    "dehb": (_peer("dehb"), ("DEHB",)),
    "synetune": (_peer("synetune"), ("syne-tune",)),
}


def _part(text: str) -> Part:
    match = re.fullmatch(r"([\w-]+)(\{.*\})?", text)
    if match is None:
        raise SystemExit(f"{text!r} is no sampler or rule: write its name, and options as JSON in braces.")
    return Part(match[1], json.loads(match[2] or "{}"))


def resolve(name: str) -> Method:
    """The method of that name; imports its library."""
    library, colon, rest = name.strip().partition(":") if re.match(r"\w+:", name.strip()) else ("", "", name.strip())
    parts = [_part(text) for text in re.split(r"\+(?![^{]*\})", rest)]
    if not colon:
        library = parts[0].name if parts[0].name in _LIBRARIES else "tunesmith"
    if library not in _LIBRARIES:
        raise SystemExit(f"Unknown library {library!r}; known: {', '.join(_LIBRARIES)}.")
    if len(parts) > 2:
        raise SystemExit(f"{name!r} has more than a sampler and a rule.")
    maker, distributions = _LIBRARIES[library]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = maker(parts[0], parts[1] if len(parts) > 1 else Part("none", {}))
    anytime = library != "topk" or bool(parts[0].options)
    return Method(name.strip(), run, anytime, versions(distributions))
