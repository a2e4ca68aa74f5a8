"""Experts' priors for any search method: proposals are drawn from what somebody believes, less and less often.

Hvarfner, C. et al. (2022): piBO: augmenting acquisition functions with user beliefs for Bayesian optimization. ICLR
(arXiv:2204.11051): belief to the power beta / n (eq. 6) decays so that a wrong one cannot mislead for long.
Mallik, N. et al. (2023): PriorBand: practical hyperparameter optimization in the age of deep learning. NeurIPS
(arXiv:2306.12370): to draw from belief or from the method, by what has come of either (sec. 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tunesmith._arguments import number
from tunesmith.distributions import BaseDistribution, choice_to_json
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._priors import Beliefs, belief, check_form
from tunesmith.samplers._results import usable
from tunesmith.samplers._wrapped import Wrapper
from tunesmith.space import Space
from tunesmith.trial import TrialState

_DRAWN = "prior.drawn"
#: Draws among which the first new one is taken, where all values are countable.
DRAWS = 16


@dataclass(frozen=True)
class PriorSampler(Wrapper):
    """Another method, which what somebody believes of the parameters helps at the start.

    A belief is a density of one parameter: ``{"mean": 0.9, "sd": 0.05}`` (a normal distribution, cut off at the ends of
    the range; on a logarithmic scale the log-normal one with this mean and standard deviation), ``{"median": 1e-3,
    "factor": 3}`` (on a logarithmic scale: two thirds of the cases lie within a factor of 3), ``{"quantiles": {"0.1":
    1e-4, "0.9": 1e-2}}`` (the evenest density with these), or ``{"weights": {"adam": 3, "sgd": 1}}`` (a choice that is
    left out weighs 1; choices that are no texts stand in pairs, ``[[None, 3], [0.5, 1]]``).

    The first trial is the most plausible configuration. From then on trial t is drawn from the belief, or is the
    wrapped method's own. The odds are beta / t (in piBO the belief has the power beta / n) times the ratio of what has
    come of the two: how many of the trials that were drawn are among the best quarter of the study, against how many of
    the others. So a good belief is drawn from more often, a wrong one is soon left, and in the end the method goes on
    as it would alone. It learns from all trials, whoever proposed them.

    piBO weighs an acquisition function with the belief. This does without one, so that every method can be wrapped.

    Args:
        priors: name -> belief. Names that the space does not have (yet) wait.
        base: what searches: an instance or a short name; ``None`` is the default method. One that ends by itself (a
            grid) has no use for a belief.
        beta: after how many trials the belief and the method are on a par, if neither did better. Default 10, what piBO
            (N / 10) takes for 100 trials.
        seed: becomes the study's seed; ``None`` takes that of the wrapped sampler.

    Raises:
        InvalidTypeError, InvalidValueError: an impossible argument; at the first proposal: a belief that does not suit
            its parameter.

    Example:
        >>> from tunesmith.samplers import PriorSampler
        >>> sampler = PriorSampler({"lr": {"median": 1e-3, "factor": 3}, "optimizer": {"weights": {"adam": 4}}})
    """

    priors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    base: BaseSampler | str | Mapping[str, Any] | None = None
    beta: float = field(default=10.0, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.priors, Mapping) or not all(isinstance(name, str) for name in self.priors):
            raise InvalidTypeError(f"`priors` must be a mapping name -> belief, but is {self.priors!r}.")
        object.__setattr__(self, "priors", {name: check_form(name, form) for name, form in self.priors.items()})
        number("beta", self.beta, low=0.0)
        self._resolve()
        if self.inner.finite:
            raise InvalidValueError(
                f"PriorSampler draws configurations that {self.inner!r} does not have; wrap a method that goes on."
            )

    @property
    def singly(self) -> bool:  # type: ignore[override]
        """Never: results decide whether the belief is drawn from."""
        return False

    @property
    def deterministic(self) -> bool:
        """Never."""
        return False

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        beliefs = self._beliefs(space)
        if beliefs is None:
            return self.inner.propose(space, history, rng, n)
        self._check_objectives(space, history)
        drawn: dict[int, Proposal] = {}
        novel = Novel(space, history)
        for k in range(n):
            first = history.n_trials + k == 0
            if first or rng.random() < self._share(history, k):
                rows = beliefs.mode(rng)[None] if first else beliefs.draw(rng, DRAWS)
                row = novel.new(rows, rng)
                drawn[k] = Proposal(space.to_params(space.decode(row)), {_DRAWN: 1})
        if len(drawn) == n:
            return list(drawn.values())
        running = [OpenRow(history.n_trials + k, TrialState.RUNNING, p.params, tags=p.tags) for k, p in drawn.items()]
        own = iter(self.inner.propose(space, history.expecting(running), rng, n - len(drawn)))
        found = [drawn[k] if k in drawn else next(own, None) for k in range(n)]
        return [proposal for proposal in found if proposal is not None]

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        beliefs = self._beliefs(space)
        if beliefs is None or rng.random() >= self._share(history, 0):
            return self.inner.complete(given, space, history, rng)
        params = space.to_params(space.decode(beliefs.draw(rng, 1))[0])
        return {name: value for name, value in params.items() if name not in given}

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        if name in self.priors and rng.random() < self._share(history, 0):
            space = Space({name: distribution})
            of = belief(name, distribution, self.priors[name])
            return space.to_params(space.decode(of.at(rng.random(1))[None])[0])[name]
        return self.inner.independent(name, distribution, history, rng)

    def _beliefs(self, space: Space) -> Beliefs | None:
        """Of the parameters of this space; ``None`` if there are none."""
        here = {name: form for name, form in self.priors.items() if name in space}
        return Beliefs(space, here) if here and self.beta else None

    def _share(self, history: History, k: int) -> float:
        """Probability that the k-th trial from now on is drawn from the belief."""
        drawn = history.tag(_DRAWN) == 1
        good = np.zeros(history.n, bool)
        if len(history.directions) > 1:
            good[history.pareto_rows] = True
        else:
            rows, losses = usable(history)
            good[rows[np.argsort(losses, kind="stable")[: -(-len(rows) // 4)]]] = True
        ours, theirs = ((good[of].sum() + 1.0) / (of.sum() + 2.0) for of in (drawn, ~drawn))
        return float(self.beta * ours / (self.beta * ours + (history.n_trials + k) * theirs))

    def _own_spec(self) -> dict[str, Any]:
        found = super()._own_spec()
        forms = {name: dict(form) for name, form in self.priors.items()}
        for form in forms.values():
            if "weights" in form:
                form["weights"] = [[choice_to_json(choice), weight] for choice, weight in form["weights"]]
        if any("$object" in str(form) for form in forms.values()):
            return {**found, "args": None}
        return {**found, "args": {"priors": forms, "beta": self.beta, "seed": self.seed}}
