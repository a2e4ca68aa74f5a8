"""Optuna's samplers, and whatever else subclasses its ``BaseSampler``, as search methods.

``integrations.get_sampler("optuna:tpe")`` brings those of Optuna itself; ``OptunaSampler(MySampler, {"options": ...})``
a class of one's own, or one from OptunaHub.

Akiba, T. et al. (2019): Optuna: A next-generation hyperparameter optimization framework. Proc. KDD, 2623-2631.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.history import History
from tunesmith.samplers import BaseSampler, Proposal
from tunesmith.space import Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tunesmith.integrations._optuna_view import Translation

_SEED, _AT = "optuna.seed", "optuna.at"
_BASE = "optuna.samplers._base.BaseSampler"

#: Name -> class in ``optuna.samplers``: those that take a seed and need nothing else.
METHODS = {
    "tpe": "TPESampler", "gp": "GPSampler", "cmaes": "CmaEsSampler", "nsgaii": "NSGAIISampler",
    "nsgaiii": "NSGAIIISampler", "random": "RandomSampler", "qmc": "QMCSampler",
}  # fmt: skip

#: Optuna samplers that read nothing but trials. All others leave notes in attributes (CMA-ES its whole state), which
#: are found again by asking them for the earlier trials once more.
_WITHOUT_NOTES = {"TPESampler", "GPSampler", "RandomSampler"}

#: What they import when they are first asked.
_NEEDS = {"CmaEsSampler": ("cmaes",), "GPSampler": ("scipy", "torch")}

_CACHED_STEPS = 4096


def sampler(name: str, *, seed: int | None = None, **options: Any) -> OptunaSampler:
    """One of Optuna's search methods.

    Args:
        name: one of :data:`METHODS`.
        seed: becomes the study's seed.
        options: its other arguments, by Optuna's names.

    Raises:
        MissingDependencyError: Optuna, or what this sampler needs (``cmaes``, ``torch``), is not installed.
        InvalidValueError: no such sampler, or it cannot be made with these options.
    """
    made = OptunaSampler(name, options, seed)
    made.make(0)
    return made


@dataclass(frozen=True)
class OptunaSampler(BaseSampler):
    """A sampler of Optuna, asked anew for every trial with a study that is rebuilt from the history.

    Each proposal comes from a fresh sampler whose seed is drawn from the trial's generator and kept in the tag
    ``optuna.seed`` (the scrambling of ``qmc`` follows from the study's seed); the tag ``optuna.at`` holds how many
    trials had finished. So nothing has to be pickled: what a sampler such as CMA-ES or NSGA-II left in the attributes
    of earlier trials is found by asking it for them again, in order. (Those steps are cached; dropping the cache
    changes only the time. Once the space has changed, all of them are asked for in the new space.)

    Running trials are RUNNING for Optuna, with their parameters for the samplers that look at them. Values outside a
    range that has shrunk are moved into it; choices are passed by position, so they may change and be of any type.

    Args:
        name: which sampler, e.g. ``"tpe"``; or a subclass of ``optuna.samplers.BaseSampler``. Give the class, not an
            instance: a new one is made for each question, with ``seed=`` if it takes one; otherwise Optuna's own random
            generators among its attributes are seeded. (A log holds no class: ``load_study`` must be given the sampler
            again.)
        options: its arguments, by Optuna's names, but the seed.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    Raises:
        InvalidTypeError: ``name`` is neither; an instance, for example.
    """

    name: str | type = "tpe"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, (str, type)):
            raise InvalidTypeError(
                "`name` must be the name of an Optuna sampler such as 'tpe', or a subclass of Optuna's BaseSampler, "
                f"but is {self.name!r}. (Of an instance, give its class and arguments: each question makes a new one.)"
            )
        object.__setattr__(self, "options", dict(self.options))
        object.__setattr__(self, "_steps", OrderedDict())  # see _step

    def make(self, seed: int, study_seed: int = 0) -> Any:
        """The Optuna sampler with this seed.

        The points of a ``qmc`` search are those of one sequence, whose scrambling follows from ``study_seed``; ``seed``
        is that of its random draws (the first trial, and names that are new).
        """
        made = _class(self.name)
        for package in _NEEDS.get(made.__name__, ()):
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"Optuna's {made.__name__} needs the package {package!r}, which is not installed; "
                    f"`pip install {package}` brings it."
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "experimental", at every proposal
            try:
                found = made(**{**_defaults(made, seed, study_seed), **self.options})
            except (TypeError, ValueError) as error:
                raise InvalidValueError(
                    f"Optuna's {made.__name__} cannot be made with {self.options!r}: {error}."
                ) from error
        if "seed" not in inspect.signature(made).parameters:
            _seed_attributes(found, seed)
        return found

    @property
    def may_repeat(self) -> bool:
        """Whether the method can propose the very configuration of an earlier trial in a continuous space."""
        return _class(self.name).__name__ in ("NSGAIISampler", "NSGAIIISampler")

    @property
    def with_replacement(self) -> bool:
        """Optuna's methods may propose again what was tried."""
        return True

    def n_initial(self, space: Space) -> int:
        """How many trials the method draws before it looks at results (0 for those that never do)."""
        made = self.make(0)
        return int(getattr(made, "_n_startup_trials", None) or getattr(made, "_population_size", None) or 0)

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        if not len(space):
            return [Proposal({})] * n
        asked = _Asked(self, space, history)
        found = []
        for _ in range(n):
            seed = int(rng.integers(2**32))
            found.append(Proposal(asked.next(seed), {_SEED: seed, _AT: history.n}))
        return found

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        """What Optuna's sampler would propose (its tags are not kept, as the trial is no step of it)."""
        if not len(space) or _class(self.name).__name__ == "QMCSampler":  # the same point, as often as it is asked for
            return super().complete(given, space, history, rng)
        found = _Asked(self, space, history).next(int(rng.integers(2**32)))
        return {name: value for name, value in found.items() if name not in given}


class _Asked:
    """The questions of one call of ``propose``."""

    def __init__(self, method: OptunaSampler, space: Space, history: History) -> None:
        from tunesmith.integrations._optuna_view import Translation, finished_trials

        self.method, self.history = method, history
        self.translation: Translation = Translation(space)
        self.finished = finished_trials(history, self.translation)
        self.number = history.n_trials
        self.open = {t.number: self.translation.there(t.params) for t in history.open}
        self.notes: dict[int, dict[str, Any]] = {}
        self.attrs: dict[str, Any] = {}
        self.key = b""
        if isinstance(method.name, type) or _class(method.name).__name__ not in _WITHOUT_NOTES:
            self._replay(space)

    def next(self, seed: int) -> dict[str, Any]:
        """The next configuration; it counts as running from now on."""
        trial = self._ask(self.number, seed, self.history.n, self.open)
        self.notes[self.number] = trial.system_attrs
        self.open[self.number] = dict(trial.params)
        self.number += 1
        return self.translation.back(trial.params)

    def _ask(self, number: int, seed: int, at: int, open_trials: Mapping[int, dict[str, Any]]) -> FrozenTrial:
        """Ask for trial ``number`` when the first ``at`` trials had finished and ``open_trials`` were running."""
        from tunesmith.integrations._optuna_view import View, ask, running

        by_number = {t.number: t for t in self.finished[:at]}
        distributions = self.translation.distributions
        trials = [by_number.get(k) or running(k, open_trials.get(k, {}), distributions) for k in range(number)]
        for k, trial in enumerate(trials):
            trial.system_attrs.update(self.notes.get(k, {}))
        view = View(self.history.directions, trials, self.attrs)
        return ask(view, self.method.make(seed, self.history.seed), distributions)

    def _replay(self, space: Space) -> None:
        """Find what the sampler noted at its earlier trials: ask for each again, as it was asked for then."""
        history = self.history
        self.open = {}  # those samplers do not look at the parameters of running trials
        steps = {
            int(number): (int(seed), int(at))
            for number, seed, at in zip(history.number, history.tag(_SEED), history.tag(_AT), strict=True)
            if seed == seed
        }
        steps.update({t.number: (int(t.tags[_SEED]), int(t.tags[_AT])) for t in history.open if _SEED in t.tags})
        digest = hashlib.blake2b(
            json.dumps([space.id, history.directions, list(history.names)]).encode(), digest_size=16
        )
        digest.update(repr(history.categories).encode())
        seen = 0
        for number, (seed, at) in sorted(steps.items()):
            part = slice(seen, max(seen, at))
            for column in (history.number, history.state, history.X, history.Y):
                digest.update(np.ascontiguousarray(column[part]).tobytes())
            seen = part.stop
            digest.update(np.array([number, seed, at]).tobytes())
            self._step(digest.digest(), number, seed, at)

    def _step(self, key: bytes, number: int, seed: int, at: int) -> None:
        cache: OrderedDict[bytes, tuple[dict[str, Any], dict[str, Any]]] = self.method._steps  # type: ignore[attr-defined]
        found = cache.get(key)
        if found is None:
            trial = self._ask(number, seed, at, {})
            found = cache[key] = (trial.system_attrs, dict(self.attrs))
            if len(cache) > _CACHED_STEPS:
                cache.popitem(last=False)
        notes, attrs = found
        self.notes[number] = notes
        self.attrs = dict(attrs)


def _defaults(made: Any, seed: int, study_seed: int) -> dict[str, Any]:
    """Arguments that are other ones here: no warning at every trial, and one scrambling for all of a sequence."""
    taken = inspect.signature(made).parameters
    found: dict[str, Any] = {"seed": seed} if "seed" in taken else {}
    if "warn_independent_sampling" in taken:
        found["warn_independent_sampling"] = False
    if made.__name__ == "QMCSampler":
        import optuna

        found["seed"] = study_seed % 2**32
        found["independent_sampler"] = optuna.samplers.RandomSampler(seed=seed)
    return found


def _seed_attributes(sampler: Any, seed: int) -> None:
    """Seed the random generators among a sampler's attributes, and those of the samplers among them."""
    from optuna.samplers import BaseSampler as OptunaBase
    from optuna.samplers._lazy_random_state import LazyRandomState

    for k, (_, value) in enumerate(sorted(vars(sampler).items())):
        if isinstance(value, OptunaBase):
            _seed_attributes(value, seed + k)
            continue
        generator = value.rng if isinstance(value, LazyRandomState) else value
        if isinstance(generator, np.random.RandomState):
            generator.seed((seed + k) % 2**32)


def _class(name: str | type) -> Any:
    """The class in ``optuna.samplers`` that a name of :data:`METHODS` stands for, or the class that is given."""
    if isinstance(name, type):
        if not any(f"{base.__module__}.{base.__name__}" == _BASE for base in name.__mro__):
            raise InvalidTypeError(f"{name!r} is no subclass of optuna.samplers.BaseSampler.")
        return name
    key = name.strip().lower().replace("-", "").replace("_", "")
    if key not in METHODS:
        raise InvalidValueError(f"Optuna's sampler {name!r} is unknown here; known: {', '.join(METHODS)}.")
    try:
        import optuna
    except ImportError as error:
        raise MissingDependencyError(
            "Optuna's samplers need Optuna, which is not installed; `pip install 'tunesmith[optuna]'` brings it."
        ) from error
    return getattr(optuna.samplers, METHODS[key])
