"""A Gaussian process of a study's results, and how low the objective may go under it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.numerics import gp
from tunesmith.numerics.streams import stream
from tunesmith.samplers import _gp_search as search
from tunesmith.samplers._gp_features import Features
from tunesmith.space import FloatArray, Space
from tunesmith.terminator._base import Rows

#: Prior of the noise of a deterministic objective: what keeps the covariance positive definite.
NO_NOISE = gp.Normal(-12.0, 0.1)
#: Evaluations of the evidence in a fit from the prior's means.
EVALUATIONS = 50
#: Results a model is made of, at most: a fit takes the cube of their number.
MOST = 400
#: The search for the lowest bound begins from changed copies of so many of the best configurations, too.
ANCHORS = 5


class Observed:
    """Results as a model takes them.

    Args:
        history: of one objective.
        rows: finished rows with a value, at least one.

    Attributes:
        space: the parameters that any of them has, under their latest ranges.
        unit: (n, d) of the unit cube, NaN where inactive.
        losses: (n,) finite, smaller is better; an infinite one counts as the worst (or best) finite one.
        features: of the space.
    """

    def __init__(self, history: History, rows: Rows) -> None:
        present = history.active[rows].any(axis=0)
        self.space = Space({name: history.distributions[name] for name in np.array(history.names)[present].tolist()})
        self.unit = history.encode(self.space)[rows]
        losses = history.loss[rows, 0]
        finite = losses[np.isfinite(losses)]
        self.losses = np.clip(losses, finite.min(), finite.max()) if len(finite) else np.zeros(len(losses))
        self.features = Features(self.space, self.unit)

    @property
    def n_parameters(self) -> int:
        """Those with more than one value."""
        return self.features.n_parameters

    def standardised(self) -> tuple[FloatArray, float]:
        """(n,) the losses with mean 0 and variance 1, and their standard deviation; zeros if they are equal, or but for
        rounding."""
        scale = float(np.abs(self.losses).max()) or 1.0  # so that nothing overflows
        y = self.losses / scale
        y -= y.mean()
        sd = float(y.std())
        return (y / sd, sd * scale) if sd > 1e-12 else (np.zeros(len(y)), 0.0)


def fitted(observed: Observed, y: FloatArray, deterministic: bool = False) -> FloatArray:
    """The hyperparameters (see :mod:`tunesmith.numerics.gp`) of highest posterior density.

    Args:
        observed: the configurations.
        y: (n,) outputs, about standardised.
        deterministic: whether the objective has no noise.
    """
    prior = gp.Prior.scaled(observed.n_parameters)
    if deterministic:
        prior = replace(prior, noise=NO_NOISE)
    evidence = gp.Evidence(observed.features.group, prior, observed.features(observed.unit), y)
    return gp.fit(evidence, [evidence.start], EVALUATIONS)


class Model:
    """What is known of the objective after some results.

    Args:
        observed: from which the space and its features are.
        theta: hyperparameters.
        y: (k,) outputs of the first k of the observed configurations, k >= 1.
    """

    def __init__(self, observed: Observed, theta: FloatArray, y: FloatArray) -> None:
        self._space, self._features = observed.space, observed.features
        self._unit, self._y = observed.unit[: len(y)], y
        self._x, self._theta = self._features(self._unit), theta
        self._posterior = gp.Posterior(self._features.group, theta[None], self._x, y)

    @property
    def noise(self) -> float:
        """Variance of the noise."""
        return math.exp(self._theta[-1])

    def predict(self, unit: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(m,) means and variances of the function at (m, d) rows of the unit cube, NaN where inactive."""
        mean, variance = self._posterior.predict(self._features(unit))
        return mean[0], variance[0]

    def variance_of_difference(self, unit: FloatArray) -> float:
        """Variance of f(a) - f(b) for the two rows of (2, d): with c = k(X, a) - k(X, b), it is k(a, a) - 2 k(a, b) +
        k(b, b) - c^T K^-1 c."""
        inverse, signal = np.exp(-self._theta[:-2])[self._features.group], math.exp(self._theta[-2])
        pair, z = self._features(unit) * inverse, self._x * inverse

        def kernel(one: FloatArray, other: FloatArray) -> FloatArray:
            return gp.matern52(gp.squared_distances(one, other), signal)[0]

        prior = kernel(pair, pair)
        c = kernel(z, pair) @ np.array([1.0, -1.0])
        explained = np.linalg.solve(kernel(z, z) + self.noise * np.eye(len(z)), c)
        return max(0.0, float(2.0 * (signal - prior[0, 1]) - c @ explained))

    def regret_bound(self, beta: float, rng: np.random.Generator) -> float:
        """By how much the best observed configuration may be worse than the best of all: the lowest upper confidence
        bound among the observed ones minus the lowest lower one in the space (Makarova 2022, eq. 3).

        Args:
            beta: the bounds are root(beta) standard deviations from the mean.
            rng: for the search in the space.
        """
        mean, variance = self.predict(self._unit)
        width = np.sqrt(beta * variance)
        lowest = min(float((mean - width).min()), self._lowest(math.sqrt(beta), rng))
        return float((mean + width).min()) - lowest

    def _lowest(self, width: float, rng: np.random.Generator) -> float:
        """The lowest mean - width sd that a search in the space comes by."""
        moves = search.Moves(self._space, np.zeros(len(self._space), bool), rng)
        anchors = self._unit[np.argsort(self._y, kind="stable")[:ANCHORS]]
        anchors = np.where(np.isnan(anchors), rng.random(anchors.shape), anchors)
        first = search.pool(moves, np.full(len(self._space), 0.5), anchors, rng)
        value = self._depth(width)
        found = search.maximise(value, self._slopes(width), moves, first, rng)
        return -float(value(found[:1])[0])

    def _depth(self, width: float) -> search.Value:
        """Minus the lower bound, for rows without NaN."""

        def value(unit: FloatArray) -> FloatArray:
            mean, variance = self._posterior.predict(self._features.of(unit))
            return width * np.sqrt(variance[0]) - mean[0]

        return value

    def _slopes(self, width: float) -> search.Slopes:
        """The same with gradients, zero for what is no number, or not active."""
        numeric: NDArray[np.bool_] = self._features.column >= 0
        activity = self._features.activity

        def slopes(unit: FloatArray) -> tuple[FloatArray, FloatArray]:
            x = self._features.of(unit)
            mean, variance, by_mean, by_variance = self._posterior.predict_with_gradient(x)
            sd = np.sqrt(variance[0])
            by_feature = (0.5 * width / sd)[:, None] * by_variance[0] - by_mean[0]
            gradient = np.zeros(unit.shape)
            gradient[:, numeric] = by_feature[:, self._features.column[numeric]]
            if activity.optional.any():
                gradient[~activity(unit)] = 0.0
            return width * sd - mean[0], gradient

        return slopes


def confidence(n_parameters: int, n: int, delta: float) -> float:
    """The beta of confidence bounds that hold together with probability 1 - delta after n results.

    It is 2 log(d n^2 pi^2 / (6 delta)) / 5 with the number d of parameters, as in the experiments of Srinivas, N. et
    al. (2010): Gaussian process optimization in the bandit setting. ICML (theorem 1, scaled down by 5), and of Makarova
    (2022).
    """
    return 2.0 * math.log(n_parameters * n**2 * math.pi**2 / (6.0 * delta)) / 5.0


def generator(history: History, seed: int | None, n: int) -> np.random.Generator:
    """Of an evaluator that looks at n results."""
    return stream(history.seed if seed is None else seed, n, "terminator")


def check_parameters(observed: Observed, who: object) -> None:
    """Raise InvalidValueError if nothing is searched."""
    if observed.n_parameters == 0:
        raise InvalidValueError(
            f"{type(who).__name__} judges by a model of the parameters, but the COMPLETE trials have none that varies; "
            "use BestValueStagnationEvaluator."
        )
