"""Tree-structured Parzen estimator (TPE).

Bergstra, J., Bardenet, R., Bengio, Y. and Kegl, B. (2011): Algorithms for hyper-parameter optimization. NeurIPS 24.
Watanabe, S. (2023): Tree-structured Parzen estimator: understanding its algorithm components and their roles for better
empirical performance. arXiv:2304.11127.
Ozaki, Y., Tanigaki, Y., Watanabe, S., Nomura, M. and Onishi, M. (2022): Multiobjective tree-structured Parzen
estimator. JAIR 73, 1209-1250.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tunesmith import logging
from tunesmith._arguments import number, whole
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.numerics.parzen_shared import CellCounts, SharedKernels
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._sobol import first_rows
from tunesmith.samplers._tpe_model import Model
from tunesmith.samplers._tpe_rows import Split, Standing
from tunesmith.space import FloatArray, Space

_logger = logging.get_logger(__name__)

#: Most kernels for the trials that are not good, in a joint model.
_MOST_ABOVE = 128
#: Most good trials, for one objective and for several (a front has many points).
_MOST_BELOW = (25, 100)
#: A weight of 0 would leave densities that vanish.
_LEAST_PRIOR = 1e-12


@dataclass(frozen=True, kw_only=True)
class TPESampler(BaseSampler):
    """Looks where good trials are dense and others are not.

    The best share ``gamma`` of the trials make a density l, the others a density g. Candidates are drawn from l; the
    one of the largest l / g, which is the one of the largest expected improvement (Bergstra 2011), is proposed.

    *Densities*: numbers have normal kernels on their own scale, truncated to the range; an integer or stepped value has
    the kernel's mass in its bin; a choice's kernel prefers its own value and gives the others equal parts. A uniform
    prior is one kernel more. Widths of the good trials' kernels are the distances to their neighbours (Bergstra 2011,
    4.2), those of the others follow Scott's rule.

    *Order*: feasible trials by value, then pruned ones by their last step and their value there, then infeasible ones
    by their violation (Optuna's order). Failed trials count as the worst, so that a region where trainings diverge is
    left. With several objectives the good ones are the first fronts, and of the front that is cut those that cover
    most hypervolume together (Ozaki 2022).

    *Conditions*: a trial without a parameter says nothing about it. A marginal is made of the trials that have it; in a
    joint density such a trial's kernel is uniform there, so that branches learn what they have in common from each
    other.

    *Parallel*: running trials are among those that are not good (constant liar), and so is each proposal of a batch for
    the next one. Where all values are countable, nothing is proposed twice while something is untried.

    *Cost*: a study's trials are counted in cells as they finish, so that the density of the many costs as much after
    50,000 trials as after 50; a joint density has at most 128 kernels for them, one from each stratum of the order.

    Args:
        n_startup_trials: the first configurations are points of a scrambled Sobol' sequence, until so many trials have
            finished without failing.
        n_ei_candidates: how many points are drawn from l. More of them make the search greedier, not better: 24 are
            few enough to explore.
        gamma: which trials are good: a number, the share (rounded up) of those that did not fail; ``"linear"`` is 0.1
            (Optuna), ``"sqrt"`` a quarter of the root of their number (hyperopt); at most 25, or 100 with several
            objectives. A function of their number says how many, without a limit. By default 0.15 (0.1 with several
            objectives): with 0.1 a study of 20 trials has two good ones.
        weights: of trials within a density, in the order in which they finished: ``"uniform"``, ``"recent"`` (Optuna's:
            the last 25 have 1, earlier ones less), or a function of their number that gives so many.
        prior_weight: of the uniform prior; a trial has 1.
        multivariate: one joint density of all parameters instead of a product of marginals. By default off: on tables
            of trained networks both were equally good at 20, 40 and 60 trials, and on test functions, rotated ones
            included, products were better at 50 and 150 (records/2026-11-21-tpe-ablation).
        group: accepted for Optuna's sake; conditional parameters take part in a joint density in any case.
        constant_liar: whether running trials count.
        consider_endpoints: whether the ends of the range count as neighbours.
        consider_magic_clip: whether a kernel of a good trial is at least ``1 / min(100, n + 2)`` of the range wide.
        consider_prior: accepted for Optuna's sake, without effect as there.
        warn_independent_sampling: warn when a later trial meets a new parameter, which is then drawn from its marginal.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    Raises:
        InvalidTypeError, InvalidValueError: an impossible argument, or what a function returned.
    """

    n_startup_trials: int = 10
    n_ei_candidates: int = 24
    gamma: float | str | Callable[[int], int] | None = None
    weights: str | Callable[[int], Sequence[float]] | None = None
    prior_weight: float | None = None
    multivariate: bool | None = None
    group: bool = False
    constant_liar: bool = True
    consider_endpoints: bool | None = None
    consider_magic_clip: bool | None = None
    consider_prior: bool | None = None
    warn_independent_sampling: bool | None = None
    seed: int | None = None

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"tpe-multivariate": {"multivariate": True}}
    by_level: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole("n_startup_trials", self.n_startup_trials, 0)
        whole("n_ei_candidates", self.n_ei_candidates, 1)
        if self.prior_weight is not None:
            number("prior_weight", self.prior_weight, 0.0)
        if isinstance(self.gamma, str):
            _one_of("gamma", self.gamma, _GAMMAS)
        elif self.gamma is not None and not callable(self.gamma):
            number("gamma", self.gamma, 0.0, 1.0)
        if isinstance(self.weights, str):
            _one_of("weights", self.weights, _WEIGHTS)
        elif self.weights is not None and not callable(self.weights):
            raise InvalidTypeError(f"`weights` must be a name or a function, but is {self.weights!r}.")
        if self.group and self.multivariate is False:
            raise InvalidValueError("`group=True` needs `multivariate=True`, but `multivariate` is False.")

    def n_initial(self, space: Space) -> int:
        """How many configurations are chosen before any result is looked at."""
        return self.n_startup_trials

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        if not len(space):
            return [Proposal({})] * n
        model = self._model(space, history, self._joint)
        if model is None:
            rows = self._first_rows(space, history, rng, n)
        else:
            novel = Novel(space, history)
            rows = np.empty((n, len(space)))
            for i in range(n):
                if i:
                    model.add(rows[i - 1 : i])
                x = model.candidates(rng, self.n_ei_candidates)
                rows[i] = _first_new(novel, x, rng) if novel.possible else x[0]
        return [Proposal(space.to_params(row)) for row in space.decode(rows)]

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        known = {name: value for name, value in given.items() if name in space and space[name].contains(value)}
        unit = space.encode(space.from_params(known)[None])[0]
        model = self._model(space, history, self._joint) if len(space) else None
        if model is None:
            row = np.where(np.isnan(unit), rng.random(len(space)), unit)
        else:
            row = model.candidates(rng, self.n_ei_candidates, unit)[0]
        params = space.to_params(space.decode(row[None])[0])
        return {name: value for name, value in params.items() if name not in given}

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        if self.warn_independent_sampling and history.n:
            _logger.warning("The parameter %r is new in this trial, so it is drawn from its marginal density.", name)
        model = None
        if name in history.names:
            model = self._model(Space({name: distribution}), history, joint=False)
        if model is None:
            return super().independent(name, distribution, history, rng)
        row = model.candidates(rng, self.n_ei_candidates)[0]
        return model.space.to_params(model.space.decode(row[None])[0])[name]

    # -- the model ----------------------------------------------------------------------------------------------

    @property
    def _joint(self) -> bool:
        return bool(self.group if self.multivariate is None else self.multivariate)

    def _first_rows(self, space: Space, history: History, rng: np.random.Generator, n: int) -> FloatArray:
        """(n, d) points of the study's Sobol' sequence: those of the trials' numbers."""
        unit = first_rows(space, history, "tpe", rng, n)
        novel = Novel(space, history)
        return np.array([novel.new(row[None], rng) for row in unit]) if novel.possible else unit

    def _model(self, space: Space, history: History, joint: bool) -> Model | None:
        """The densities; None while there are too few trials."""
        objectives = len(history.directions)
        prior = max(1.0 if self.prior_weight is None else float(self.prior_weight), _LEAST_PRIOR)
        with history.memo(("tpe", space.id), lambda: Standing(space, objectives)) as standing:
            if standing.judged < max(1, self.n_startup_trials):
                return None
            n_below = self._n_below(standing.judged, objectives)
            split = standing.split(n_below, _MOST_ABOVE if joint else 0)
            weights = np.ones(n_below) if objectives > 1 else self._weights(n_below)
            endpoints, clip = bool(self.consider_endpoints), self.consider_magic_clip is not False
            good, their_counts = standing.good(split.below, weights, prior, endpoints, clip)
            axes, unit, counts = standing.axes, standing.unit, standing.counts.without(their_counts)
        pending = history.encode_open(space) if self.constant_liar and history.open else unit[:0]
        above: SharedKernels | CellCounts = counts
        if joint:
            rows = np.concatenate([unit[split.above], pending])
            above = SharedKernels(axes, rows, self._weights_above(split, history.n, len(pending)), prior)
        elif self.weights is None or self.weights == "uniform":
            if len(pending):
                above.add(pending)
        else:
            others = np.setdiff1d(np.arange(history.n), split.below, assume_unique=True)
            above = CellCounts(axes)
            above.add(np.concatenate([unit[others], pending]), self._weights(len(others) + len(pending)))
        return Model(space, good, above, prior)

    def _n_below(self, n: int, objectives: int) -> int:
        """How many of ``n`` trials are good."""
        if callable(self.gamma):
            found = self.gamma(n)
            if isinstance(found, bool) or not isinstance(found, (int, np.integer)):
                raise InvalidTypeError(f"`gamma` must return a whole number, but gave {found!r} for {n} trials.")
            return min(max(int(found), 0), n)
        rule = self.gamma if self.gamma is not None else 0.15 if objectives == 1 else 0.1
        size = _GAMMAS[rule](n) if isinstance(rule, str) else rule * n
        return min(max(math.ceil(size), 1), _MOST_BELOW[objectives > 1], n)

    def _weights(self, n: int) -> FloatArray:
        """(n,) weights of the trials of a density."""
        if callable(self.weights):
            found = np.asarray(self.weights(n), float)[:n]
            if found.shape != (n,) or not np.isfinite(found).all() or (found < 0).any() or (n and not found.any()):
                raise InvalidValueError(
                    f"`weights` must return {n} finite weights that are not negative, nor all 0, but gave {found!r}."
                )
            return np.maximum(found, _LEAST_PRIOR)
        return _WEIGHTS[self.weights or "uniform"](n)

    def _weights_above(self, split: Split, n: int, pending: int) -> FloatArray:
        """(kernels,) weights of the rows of ``split.above`` and of the pending trials."""
        if self.weights is None or self.weights == "uniform":
            return np.append(np.full(len(split.above), split.weight), np.ones(pending))
        others = np.setdiff1d(np.arange(n), split.below, assume_unique=True)
        weights = self._weights(len(others) + pending)
        chosen = weights[np.searchsorted(others, split.above)] * split.weight
        return np.append(chosen, weights[len(others) :])


def _recent(n: int) -> FloatArray:
    if n <= 25:
        return np.ones(n)
    return np.append(np.linspace(1.0 / n, 1.0, n - 25), np.ones(25))


_GAMMAS: dict[str, Callable[[int], float]] = {"linear": lambda n: 0.1 * n, "sqrt": lambda n: 0.25 * math.sqrt(n)}
_WEIGHTS: dict[str, Callable[[int], FloatArray]] = {"uniform": np.ones, "recent": _recent}


def _one_of(name: str, value: str, known: Mapping[str, Any]) -> None:
    if value not in known:
        raise InvalidValueError(f"`{name}` must be one of {', '.join(known)}, or a function, but is {value!r}.")


def _first_new(novel: Novel, x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The first of the candidates that is new. The best one mostly is, so it is asked for alone."""
    if not novel.known(x[:1])[0]:
        novel.add(x[0])
        return x[0]
    return novel.new(x, rng)
