"""Search by a random forest: expected improvement under what trees predict, as in SMAC.

Hutter, F., Hoos, H. H. and Leyton-Brown, K. (2011): Sequential model-based optimization for general algorithm
configuration. LION 5, 507-523. Lindauer, M. et al. (2022): SMAC3: a versatile Bayesian optimization package for
hyperparameter optimization. JMLR 23(54).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tunesmith._arguments import number, one_of, whole
from tunesmith.history import History
from tunesmith.numerics.forest import Forest, check_scikit_learn
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._exchange import Exchange, descend, filled, first_new, given_row, snapped
from tunesmith.samplers._forest_coder import Coder
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._results import TRANSFORMS, single_objective, thinned, transformed, usable
from tunesmith.samplers._sobol import first_rows
from tunesmith.space import FloatArray, Space

#: Random candidates; the best known configurations beside them; local searches from the best of both; their steps.
RANDOM, KNOWN, STARTS, ROUNDS = 500, 10, 15, 8
#: Most trials the trees are grown on; beyond, half of these are the best and half the latest.
MOST = 1000
#: Smallest variance, of outcomes with variance 1: trees that agree are not certain.
_LEAST = 1e-6


@dataclass(frozen=True, kw_only=True)
class RandomForestSampler(BaseSampler):
    """Trees predict what a configuration is worth, and how much they disagree; the next trial is the one of largest
    expected improvement.

    After a start of Sobol' points, each proposal grows a forest on the results so far. Its mean and its variance (by
    the law of total variance: within the leaves, and between the trees) give the logarithm of the expected improvement
    on the best result. That is maximised over random configurations and local searches in the one-exchange
    neighbourhood.

    Trees take what other models find hard: choices (ordered by their mean results, so the order in which they are named
    has no influence), conditions (an inactive parameter is a value below all others), and steps in the objective. They
    are weak where it is smooth.

    A trial that is still running counts as if it had an average result, so that parallel workers do not meet. Failed
    trials are left out, infeasible ones are worse than feasible ones. Needs scikit-learn.

    A proposal takes some milliseconds (10 trees, 60 trials of 10 parameters: 7), most of it in scikit-learn.

    Args:
        n_startup_trials: Sobol' points before the first forest.
        n_estimators: trees. 10 as in SMAC; 25 were no better on tables of network results, and take twice the time.
        max_features: part of the parameters that are looked at for a split; 5/6 as in SMAC.
        min_samples_leaf: fewest trials in a leaf; 3 as in SMAC.
        splitter: ``"random"``: one random threshold for each parameter (extra trees), so that the forest's mean is
            smoother; better than ``"best"``, of all thresholds the best, on the tables.
        bootstrap: each tree is grown on a sample drawn with replacement.
        transform: of the results: ``"log"``: the logarithm of their distance to (a little below) the best one;
            ``"rank"``: normal scores; ``"none"``.
        random_interval: every so many-th trial is random, as in the paper; 0 (default) for none, because duplicates are
            avoided anyway and on the tables random trials were lost.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    Raises:
        MissingDependencyError: scikit-learn is not installed. InvalidValueError, InvalidTypeError: an impossible
            argument; a study with several objectives.
    """

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"forest": {}, "random-forest": {}}
    by_level: ClassVar[bool] = True

    n_startup_trials: int = 8
    n_estimators: int = 10
    max_features: float = 5 / 6
    min_samples_leaf: int = 3
    splitter: str = "random"
    bootstrap: bool = True
    transform: str = "log"
    random_interval: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("n_startup_trials", 1), ("n_estimators", 1), ("min_samples_leaf", 1)):
            whole(name, getattr(self, name), least)
        whole("random_interval", self.random_interval, 0)
        number("max_features", self.max_features, 0.0, 1.0)
        one_of("splitter", self.splitter, ("best", "random"))
        one_of("transform", self.transform, TRANSFORMS)
        check_scikit_learn()

    def n_initial(self, space: Space) -> int:
        """How many configurations are chosen before any result is looked at."""
        return self.n_startup_trials

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        single_objective("RandomForestSampler", history)
        if not len(space):
            return [Proposal({})] * n
        rows, losses = thinned(*usable(history), MOST)
        starting = len(rows) < self.n_startup_trials
        units = first_rows(space, history, "forest", rng, n) if starting else rng.random((n, len(space)))
        novel, X = Novel(space, history), history.encode(space)
        known, pending = X, history.encode_open(space)
        found: list[FloatArray] = []
        for k in range(n):
            candidates = units[k : k + 1]
            if not (starting or (self.random_interval and (history.n_trials + k) % self.random_interval == 0)):
                candidates = self._candidates(space, X[rows], losses, pending, np.full(len(space), np.nan), rng)
            unit = first_new(space, candidates, np.concatenate([known, pending]), novel, rng)
            pending = np.concatenate([pending, snapped(space, unit[None])])
            found.append(unit)
        return [Proposal(space.to_params(row)) for row in space.decode(np.array(found))]

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        """The values of largest expected improvement beside the given ones; random ones before the first forest."""
        single_objective("RandomForestSampler", history)
        rows, losses = thinned(*usable(history), MOST)
        unit = rng.random(len(space))
        if len(rows) >= self.n_startup_trials and len(space):
            X, pending = history.encode(space), history.encode_open(space)
            candidates = self._candidates(space, X[rows], losses, pending, given_row(space, given), rng)
            unit = first_new(space, candidates, np.concatenate([X, pending]), Novel(space, history), rng)
        params = space.to_params(space.decode(unit))
        return {name: value for name, value in params.items() if name not in given}

    def _candidates(
        self,
        space: Space,
        X: FloatArray,
        losses: FloatArray,
        pending: FloatArray,
        given: FloatArray,
        rng: np.random.Generator,
    ) -> FloatArray:
        """(m, d) rows of the unit cube, the one of largest expected improvement first.

        All have the (d,) values that are given (others are NaN).
        """
        from tunesmith.numerics.acquisition import log_expected_improvement  # by way of scipy, slow to import

        z = transformed(losses, self.transform)
        best = z.min()
        top = X[np.argsort(z, kind="stable")[:KNOWN]]
        X, z = np.concatenate([X, pending]), np.concatenate([z, np.zeros(len(pending))])
        coder = Coder(space, X, z)
        leaf = min(self.min_samples_leaf, max(1, len(X) // 4))
        forest = Forest(
            coder(X), z, rng, n_trees=self.n_estimators, max_features=self.max_features, min_leaf=leaf,
            bootstrap=self.bootstrap, splitter=self.splitter,
        )  # fmt: skip

        def value(units: FloatArray) -> FloatArray:
            mean, variance = forest.predict(coder(snapped(space, units)))
            return -log_expected_improvement(mean, np.sqrt(np.maximum(variance, _LEAST)), best)

        fixed = ~np.isnan(given)
        pool = np.where(fixed, given, np.concatenate([filled(top, rng), rng.random((RANDOM, len(space)))]))
        return descend(value, Exchange(space, fixed=fixed), pool, STARTS, ROUNDS, rng)
