"""Thompson sampling: the best point of a function drawn from the posterior of a Gaussian process.

Thompson, W. R. (1933): On the likelihood that one unknown probability exceeds another in view of the evidence of two
samples. Biometrika 25, 285-294. Hernandez-Lobato, J. M. et al. (2014): Predictive entropy search for efficient global
optimization of black-box functions. NeurIPS, sec. 2.1 (functions from random features). Kandasamy, K. et al. (2018):
Parallelised Bayesian optimisation via Thompson sampling. AISTATS, 133-142 (many workers). How functions are drawn: see
:mod:`tunesmith.numerics.pathwise`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from tunesmith._arguments import one_of, whole
from tunesmith.history import History
from tunesmith.numerics.pathwise import Path, log_evidence, squared_distances
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._exchange import Exchange, descend, filled, first_new, given_row, snapped
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._results import TRANSFORMS, single_objective, thinned, transformed, usable
from tunesmith.samplers._sobol import first_rows
from tunesmith.samplers._thompson_rows import Coordinates
from tunesmith.space import FloatArray, Space

#: Random candidates; the best known configurations beside them; local searches from the best of both; their steps.
RANDOM, KNOWN, STARTS, ROUNDS = 200, 4, 4, 6
#: Most trials the function is fitted to; beyond, half of these are the best and half the latest.
MOST = 150
#: Lengthscales that are considered, as multiples of sqrt(d) / 2, and variances of the noise, as parts of the signal's.
SCALES, NOISES = (0.5, 1.0, 2.0), (1e-2, 1e-1)


@dataclass(frozen=True, kw_only=True)
class ThompsonSampler(BaseSampler):
    """A function is drawn that could be the objective, given the results so far; the next trial is where it is lowest.

    A configuration is so tried with the probability that it is the best one. Functions come from a Gaussian process
    with a Matern kernel; its lengthscales (one for all numbers, one for all choices) and its noise are drawn too, from
    their posterior on a small grid. Each proposal has a function of its own, so parallel workers and batches differ by
    themselves. After a start of Sobol' points the function's lowest point is searched for among random configurations
    and by local searches in the one-exchange neighbourhood.

    It explores more than methods that maximise an expected improvement, and so is slower when trials are few and one
    after the other; what speaks for it is large batches. A proposal takes about 10 ms with 60 trials of 10 parameters.

    A parameter whose condition does not hold is at a distance of its own from every value it may have. Failed trials
    are left out, infeasible ones are worse than feasible ones. Beyond 150 trials the best and the latest of them are
    used.

    Args:
        n_startup_trials: Sobol' points before the first function.
        features: random features of the functions; their cost grows with it, as does their precision.
        transform: of the results: ``"rank"``: normal scores, so that outliers do no harm; ``"log"``: the logarithm of
            their distance to (a little below) the best one; ``"none"``.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    Raises:
        InvalidValueError, InvalidTypeError: an impossible argument; a study with several objectives.
    """

    n_startup_trials: int = 6
    features: int = 128
    transform: str = "rank"
    by_level: ClassVar[bool] = True
    seed: int | None = None

    def __post_init__(self) -> None:
        whole("n_startup_trials", self.n_startup_trials, 1)
        whole("features", self.features, 1)
        one_of("transform", self.transform, TRANSFORMS)

    def n_initial(self, space: Space) -> int:
        """How many configurations are chosen before any result is looked at."""
        return self.n_startup_trials

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        single_objective("ThompsonSampler", history)
        if not len(space):
            return [Proposal({})] * n
        rows, losses = thinned(*usable(history), MOST)
        novel, X = Novel(space, history), history.encode(space)
        known = np.concatenate([X, history.encode_open(space)])
        posterior: Posterior | None = None
        units = np.empty((0, len(space)))
        if len(rows) < self.n_startup_trials:
            units = first_rows(space, history, "thompson", rng, n)
        else:
            posterior = Posterior(space, X[rows], transformed(losses, self.transform))
        found: list[FloatArray] = []
        for k in range(n):
            candidates = units[k : k + 1] if posterior is None else posterior.candidates(rng, self.features)
            unit = first_new(space, candidates, known, novel, rng)
            known = np.concatenate([known, snapped(space, unit[None])])
            found.append(unit)
        return [Proposal(space.to_params(row)) for row in space.decode(np.array(found))]

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        """The values beside the given ones where a function that is drawn is lowest; random ones at the start."""
        single_objective("ThompsonSampler", history)
        rows, losses = thinned(*usable(history), MOST)
        unit = rng.random(len(space))
        if len(rows) >= self.n_startup_trials and len(space):
            X, pending = history.encode(space), history.encode_open(space)
            posterior = Posterior(space, X[rows], transformed(losses, self.transform))
            candidates = posterior.candidates(rng, self.features, given_row(space, given))
            unit = first_new(space, candidates, np.concatenate([X, pending]), Novel(space, history), rng)
        params = space.to_params(space.decode(unit))
        return {name: value for name, value in params.items() if name not in given}


class Posterior:
    """What functions the objective may be.

    Args:
        space: what is searched.
        X: (n, d) rows of the unit cube with results; NaN where inactive.
        z: (n,) these, with mean 0 and variance 1.
    """

    def __init__(self, space: Space, X: FloatArray, z: FloatArray) -> None:
        self._space, self._X, self._z = space, X, z
        self._coordinates = Coordinates(space)
        self._points = self._coordinates(X)
        choice = self._coordinates.of_choice
        of_numbers, of_choices = (squared_distances(P, P) for P in (self._points[:, ~choice], self._points[:, choice]))
        unit = 0.5 * math.sqrt(len(space))
        scales = [unit * s for s in SCALES]
        mixed = bool(choice.any()) and not bool(choice.all())
        pairs = list(product(scales, scales)) if mixed else [(s, s) for s in scales]
        self._grid = [(*pair, noise) for pair in pairs for noise in NOISES]
        fits = np.array([log_evidence(of_numbers / a**2 + of_choices / b**2, z, noise) for a, b, noise in self._grid])
        self.weights = np.exp(fits - fits.max())
        self.weights /= self.weights.sum()

    def candidates(self, rng: np.random.Generator, features: int, given: FloatArray | None = None) -> FloatArray:
        """(m, d) rows of the unit cube; first where a function that is drawn is lowest.

        Args:
            rng: draws the function.
            features: of it.
            given: (d,) values that all rows have, NaN where they are free.
        """
        of_number, of_choice, noise = self._grid[int(rng.choice(len(self._grid), p=self.weights))]
        lengths = np.where(self._coordinates.of_choice, of_choice, of_number)
        path = Path(self._points / lengths, self._z, noise, rng, features)

        def value(units: FloatArray) -> FloatArray:
            return path(self._coordinates(snapped(self._space, units)) / lengths)

        top = filled(self._X[np.argsort(self._z, kind="stable")[:KNOWN]], rng)
        pool = np.concatenate([top, rng.random((RANDOM, len(self._space)))])
        fixed = np.zeros(len(self._space), bool) if given is None else ~np.isnan(given)
        pool = pool if given is None else np.where(fixed, given, pool)
        return descend(value, Exchange(self._space, fixed=fixed), pool, STARTS, ROUNDS, rng)
