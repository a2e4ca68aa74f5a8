"""Transfer from earlier studies: a portfolio of what was good there comes first, then another method goes on.

Wistuba, M., Schilling, N. and Schmidt-Thieme, L. (2015): Sequential model-free hyperparameter tuning. ICDM, 1033-1038
(a sequence of configurations, chosen greedily by their ranks in earlier tasks). Feurer, M. et al. (2022): Auto-sklearn
2.0: hands-free AutoML via meta-learning. JMLR 23(261), sec. 3 (portfolios).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tunesmith._arguments import whole
from tunesmith.distributions import BaseDistribution, CategoricalDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._portfolio import portfolio
from tunesmith.samplers._results import usable
from tunesmith.samplers._unused import first_unused, taken
from tunesmith.samplers._wrapped import Wrapper, as_json, plain
from tunesmith.space import Space
from tunesmith.trial import TrialState

_TAG = "transfer.i"


@dataclass(frozen=True)
class TransferSampler(Wrapper):
    """Some configurations first, as a rule those that earlier studies found; then another method, which learns from
    their results.

    :meth:`from_studies` chooses the configurations: few, so that in each of the earlier studies one of them is good.
    The first is the best on the whole, the second is good where the first is not, and so on. They are kept in the log
    as values, so a study does not depend on those it has learnt from.

    A configuration is fitted to the space: a number outside of its range goes to the nearest end; for a parameter it
    does not have, and for a choice that is not there, the other method gives a value. One that was tried is left out.
    When the names are not known before the objective asks for them, the portfolio begins with the second trial.

    What is transferred is where to begin. The models of the earlier studies do not take part afterwards.

    Args:
        portfolio: configurations, name -> value, in their order.
        base: what goes on: an instance or a short name; ``None`` is the default method.
        seed: becomes the study's seed; ``None`` takes that of the other method.

    Raises:
        InvalidTypeError: an impossible argument.

    Example:
        >>> import tunesmith
        >>> from tunesmith.samplers import TransferSampler
        >>> earlier = tunesmith.minimize(lambda x: x**2, {"x": tunesmith.Float(-5, 5)}, n_trials=20, seed=0)
        >>> study = tunesmith.create_study(sampler=TransferSampler.from_studies([earlier], "random", n=3))
    """

    portfolio: Sequence[Mapping[str, Any]] = ()
    base: BaseSampler | str | Mapping[str, Any] | None = None
    seed: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        given = self.portfolio
        if isinstance(given, (str, Mapping)) or not isinstance(given, Sequence):
            raise InvalidTypeError(f"`portfolio` must be a list of configurations, but is {given!r}.")
        for params in given:
            if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
                raise InvalidTypeError(f"`portfolio` must hold configurations, name -> value, but holds {params!r}.")
        found = tuple({name: plain(value) for name, value in params.items()} for params in given)
        object.__setattr__(self, "portfolio", found)
        self._resolve()

    @classmethod
    def from_studies(
        cls,
        studies: Iterable[Any],
        base: BaseSampler | str | None = None,
        *,
        n: int = 5,
        seed: int | None = None,
    ) -> TransferSampler:
        """A portfolio of what earlier studies found.

        The candidates are the 20 best trials of each study; each is judged by its rank in every study, where it was not
        tried by the ranks of the nearest trials there. Studies count alike, however many trials they have; values are
        compared within a study only, so their objectives may have different scales and directions.

        Args:
            studies: studies (or their histories) with one objective, over parameters some of which have the same names.
                Those without a result are left out.
            base, seed: as for the class.
            n: most configurations. Default 5: a fifth of a small study, and as much as its first model would need.

        Raises:
            InvalidValueError: a study with several objectives, or not one result in all.
        """
        whole("n", n, 1)
        histories = [found if isinstance(found, History) else found.history for found in studies]
        for history in histories:
            if len(history.directions) != 1:
                raise InvalidValueError(
                    f"A portfolio is made from studies with one objective, but one of these has "
                    f"{len(history.directions)}; leave it out."
                )
        told = [history for history in histories if len(usable(history)[0])]
        if not told:
            raise InvalidValueError(f"None of the {len(histories)} studies has a result; there is nothing to transfer.")
        return cls(portfolio(told, n), base, seed=seed)

    def n_initial(self, space: Space) -> int:
        """The portfolio, and what the other method chooses before it looks at results."""
        return len(self.portfolio) + super().n_initial(space)

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        self._check_objectives(space, history)
        found = self._next(space, history, rng, n)
        if len(found) == n:
            return found
        running = [
            OpenRow(history.n_trials + k, TrialState.RUNNING, p.params, tags=p.tags) for k, p in enumerate(found)
        ]
        return found + self.inner.propose(space, history.expecting(running), rng, n - len(found))

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        return self.inner.complete(given, space, history, rng)

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        return self.inner.independent(name, distribution, history, rng)

    def _next(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        """The next of the portfolio that are new."""
        used = taken(history, _TAG)
        if len(np.unique(used)) >= len(self.portfolio):
            return []
        left = first_unused(used, len(self.portfolio))
        novel = Novel(space, history)
        found: list[Proposal] = []
        for k in left[left < len(self.portfolio)].tolist():
            if len(found) < n:
                params = self._fitted(self.portfolio[k], space, history, rng)
                row = space.encode(space.from_params(params)[None])[0]
                if params and not novel.has(row):
                    novel.add(row)
                    found.append(Proposal(params, {_TAG: k}))
        return found

    def _fitted(
        self, params: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        """A configuration for this space; empty if there is nothing in common."""
        fitted = {name: fit(space[name], value) for name, value in params.items() if name in space}
        given = {name: value[0] for name, value in fitted.items() if value}
        if not given or len(given) == len(space):
            return given
        return {**self.inner.complete(given, space, history, rng), **given}

    def _own_spec(self) -> dict[str, Any]:
        found = super()._own_spec()
        listed = [as_json(params) for params in self.portfolio]
        whole = None not in listed
        return {**found, "args": {"portfolio": listed, "seed": self.seed} if whole else None}


def fit(distribution: BaseDistribution, value: Any) -> tuple[Any, ...]:
    """The nearest value of a parameter, alone in a tuple; nothing if there is none such."""
    if isinstance(distribution, CategoricalDistribution):
        at = distribution._find(value)
        return () if at is None else (distribution.choices[at],)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return ()
    if distribution.contains(value):
        return (float(value) if distribution.kind == "float" else int(value),)
    space = Space({"value": distribution})
    return (space.to_params(space.decode(space.encode(np.array([[float(value)]])))[0])["value"],)
