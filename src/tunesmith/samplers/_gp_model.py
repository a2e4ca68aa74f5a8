"""The Gaussian process of a study's results, and how promising a configuration is under it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tunesmith.history import History
from tunesmith.numerics import acquisition, gp
from tunesmith.numerics.outputs import half_ranked
from tunesmith.samplers import _gp_search as search
from tunesmith.samplers._gp_features import Features
from tunesmith.samplers._results import thinned, usable
from tunesmith.space import FloatArray, Space

#: The tags of a proposal: theta, and the space it belongs to.
THETA, SPACE = "gp.theta", "gp.s"
#: Results the model is made of, at most, and configurations without one.
MOST, MOST_FAILED = 400, 100
#: Two configurations that differ by less in every feature are one.
SAME = 1e-6
#: Most evaluations of the evidence in a fit. It goes on from the last trial's theta; up to so many results it begins
#: at the prior, too, because the first thetas may lie at a mode that is none any more. With more results than the last
#: number, each evaluation takes long and changes little.
EVALUATIONS, AFRESH = 50, 30
FURTHER, MANY = 10, 100
#: Thetas that stand for their posterior, and the most hyperparameters for which they are drawn. With more than 50
#: results there are fewer of them, and with ``MANY`` it is the mode alone.
MEMBERS, MOST_THETA = 8, 40
#: The search begins from changed copies of so many of the best configurations.
ANCHORS = 5
#: Prior of the noise of a deterministic objective: what keeps the covariance positive definite.
NO_NOISE = gp.Normal(-12.0, 0.1)


class Model:
    """Gaussian processes with several hyperparameters, and the logarithm of their mean expected improvement.

    The outputs are the losses, of which the worse half counts by rank only (:func:`half_ranked`). An improvement is one
    over the lowest posterior mean at a configuration that was tried, not over the luckiest result.
    Configurations that are being evaluated are believed to give what is expected of them. One that failed, or was given
    up without a value, counts as one of the worst, or it would look as promising as before.

    Args:
        space: what is searched.
        history: with at least one usable result.
        deterministic: whether there is no noise.

    Attributes:
        rows: (n, d) of the unit cube, NaN where inactive: what the model is made of.
        y: (n,) their outputs.
        theta: the mode.
    """

    def __init__(self, space: Space, history: History, deterministic: bool) -> None:
        chosen, losses = usable(history)
        failed = np.setdiff1d(np.arange(history.n), chosen)[-MOST_FAILED:]
        chosen, losses = thinned(chosen, losses, MOST)
        y = half_ranked(losses)
        everything = history.encode(space)
        self.space, self.rows = space, everything[np.concatenate([chosen, failed])]
        self.y = np.concatenate([y, np.full(len(failed), y.max())])
        self._features = Features(space, self.rows)
        x, group = self._features(self.rows), self._features.group
        prior = gp.Prior.scaled(self._features.n_parameters)
        if deterministic:
            prior = replace(prior, noise=NO_NOISE)
        evidence = gp.Evidence(group, prior, x, self.y)
        self.theta = self._fit(evidence, last_theta(history, space, len(evidence.start)))
        several = len(x) <= MANY and len(self.theta) <= MOST_THETA
        n = min(MEMBERS, 50 * MEMBERS // len(x)) if several else 1
        thetas, self._weights = gp.mixture(evidence, self.theta, n)
        self._posterior = gp.Posterior(group, thetas, x, self.y)
        self._best = self._posterior.predict(x[: len(chosen)])[0].min(axis=1)[:, None]
        self._known = self._features(everything)
        self._believe(self._features(history.encode_open(space)))

    @staticmethod
    def _fit(evidence: gp.Evidence, last: FloatArray | None) -> FloatArray:
        if last is None:
            return gp.fit(evidence, [evidence.start], EVALUATIONS)
        starts = [evidence.start, last] if len(evidence.y) <= AFRESH else [last]
        return gp.fit(evidence, starts, EVALUATIONS if len(evidence.y) <= MANY else FURTHER)

    def tags(self) -> dict[str, object]:
        """What the next fit begins with."""
        return {THETA: [float(f"{t:.6g}") for t in self.theta.tolist()], SPACE: int(self.space.id, 16)}

    def expect(self, row: FloatArray) -> None:
        """The (d,) row of the unit cube will be evaluated."""
        self._believe(self._features.of(row[None]))

    def _believe(self, x: FloatArray) -> None:
        if len(x):
            self._best = np.minimum(self._best, self._posterior.predict(x)[0].min(axis=1)[:, None])
            self._posterior = self._posterior.believing(x)
            self._known = np.concatenate([self._known, x])

    def repeats(self, unit: FloatArray) -> NDArray[np.bool_]:
        """(m,) which of the (m, d) rows of the unit cube are finished or pending configurations already (ends of
        ranges are proposed often)."""
        way = np.abs(self._features.of(unit)[:, None] - self._known).max(axis=2, initial=0.0)
        return (way < SAME).any(axis=1)

    def value(self, unit: FloatArray) -> FloatArray:
        """(m,) log expected improvements of (m, d) rows of the unit cube."""
        mean, variance = self._posterior.predict(self._features.of(unit))
        found = acquisition.log_expected_improvement(mean, np.sqrt(variance), self._best)
        return np.logaddexp.reduce(found + self._weights[:, None], axis=0)

    def slopes(self, unit: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(m,) log expected improvements of (m, d) rows, and their (m, d) gradients; zero for what is no number, or not
        active."""
        x = self._features.of(unit)
        mean, variance, mean_gradient, variance_gradient = self._posterior.predict_with_gradient(x)
        sd = np.sqrt(variance)
        values, by_mean, by_sd = acquisition.log_expected_improvement_slopes(mean, sd, self._best)
        values += self._weights[:, None]
        total = np.logaddexp.reduce(values, axis=0)
        share = np.exp(values - total)
        by_feature = np.einsum("km,kmf->mf", share * by_mean, mean_gradient)
        by_feature += np.einsum("km,kmf->mf", share * 0.5 * by_sd / sd, variance_gradient)
        gradient = np.zeros(unit.shape)
        numeric = self._features.column >= 0
        gradient[:, numeric] = by_feature[:, self._features.column[numeric]]
        if self._features.activity.optional.any():
            gradient[~self._features.activity(unit)] = 0.0
        return total, gradient

    def promising(self, given: FloatArray, rng: np.random.Generator) -> FloatArray:
        """(m, d) rows of the unit cube, the best first, with the values of the (d,) row ``given`` that are not NaN."""
        fixed = ~np.isnan(given)
        moves = search.Moves(self.space, fixed, rng)
        anchors = self.rows[np.argsort(self.y, kind="stable")[:ANCHORS]]
        anchors = np.where(np.isnan(anchors), rng.random(anchors.shape), anchors)
        anchors[:, fixed] = given[fixed]
        first = search.pool(moves, np.where(fixed, given, 0.5), anchors, rng)
        return search.maximise(self.value, self.slopes, moves, first, rng)


def last_theta(history: History, space: Space, size: int) -> FloatArray | None:
    """(size,) the theta of the latest trial that has one for this space, or ``None``."""
    this, latest, found = int(space.id, 16), -1, None
    column = history.tag(THETA)
    if column.ndim == 2 and column.shape[1] >= size:
        fits = (history.tag(SPACE) == this) & (np.isfinite(column).sum(axis=1) == size)
        if fits.any():
            row = np.flatnonzero(fits)[np.argmax(history.number[fits])]
            latest, found = int(history.number[row]), column[row, :size]
    for trial in history.open:
        theta = trial.tags.get(THETA)
        if theta is not None and trial.tags.get(SPACE) == this and len(theta) == size and trial.number > latest:
            latest, found = trial.number, np.array(theta, float)
    return found
