"""Bayesian optimization with a Gaussian process.

Mockus, J., Tiesis, V. and Zilinskas, A. (1978): The application of Bayesian methods for seeking the extremum (expected
improvement). Snoek, J., Larochelle, H. and Adams, R. P. (2012): Practical Bayesian optimization of machine learning
algorithms. NIPS (the Matérn 5/2 kernel, and expected improvement averaged over the hyperparameters' posterior).
Ament, S. et al. (2023): Unexpected improvements to expected improvement for Bayesian optimization. NeurIPS.
Garrido-Merchán, E. C. and Hernández-Lobato, D. (2020): Dealing with categorical and integer-valued variables in
Bayesian optimization with Gaussian processes. Neurocomputing 380, 20-35 (the kernel sees rounded integers).
The model itself: :mod:`tunesmith.numerics.gp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tunesmith import logging
from tunesmith._arguments import whole
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.numerics.blas import one_thread
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._results import single_objective, usable
from tunesmith.samplers._sobol import first_rows
from tunesmith.space import FloatArray, Space

if TYPE_CHECKING:
    from tunesmith.samplers._gp_model import Model

_logger = logging.get_logger(__name__)
#: Rows whose novelty is looked up together.
_SOME = 16


@dataclass(frozen=True, kw_only=True)
class GPSampler(BaseSampler):
    """The configuration whose improvement over the best one is expected to be largest, under Gaussian processes fitted
    to all results.

    *Model*: a Matérn 5/2 kernel with a lengthscale for each parameter, which sees integers as they are rounded, choices
    as equal or different, and inactive parameters as such. The better half of the losses keeps its proportions; of the
    worse half only the order counts, so that a diverged training does not hide what matters. Up to a hundred results,
    expected improvement is averaged over up to eight draws from the posterior of the hyperparameters, whose mode alone
    is overconfident; with more the mode does.

    *Several at once*: configurations that are being evaluated are taken to give what is expected of them (the "Kriging
    believer"), so workers, and the proposals of a batch, go to different places. A batch is fitted once.

    *Constraints*: infeasible trials are ranked behind all feasible ones, by their violation. Pruned trials count with
    the value they have, those that failed or have none as one of the worst.

    *State*: the fitted hyperparameters are the tag ``gp.theta`` of each trial, from which the next fit goes on.

    *Long studies*: the model is made of at most 400 results, half of them the best, the others the latest. *Where all
    values are countable*, nothing that was tried, or is pending, is proposed again while something else is left.

    Args:
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).
        independent_sampler: draws a parameter that is met for the first time in a trial; uniform by default.
        n_startup_trials: results to wait for, meanwhile proposing points of a scrambled Sobol' sequence. Optuna waits
            for 10; on tables of networks 3, 5 and 8 were about equal, and 10 no better.
        deterministic_objective: whether the same configuration always gives the same result, so that there is no noise
            to learn.
        constraints_func: only ``None``: let the objective call ``trial.set_constraint`` instead.
        warn_independent_sampling: warn when a later trial meets a new parameter.

    Raises:
        InvalidValueError: an impossible argument; a study with several objectives.
    """

    by_level: ClassVar[bool] = True
    seed: int | None = None
    independent_sampler: BaseSampler | None = None
    n_startup_trials: int = 5
    deterministic_objective: bool = False
    constraints_func: None = None
    warn_independent_sampling: bool = True

    def __post_init__(self) -> None:
        whole("n_startup_trials", self.n_startup_trials, 1)
        if self.constraints_func is not None:
            raise InvalidValueError(
                "`constraints_func` is not supported; call `trial.set_constraint(name, value)` in the objective, where "
                "a value above 0 is a violation."
            )
        if isinstance(self.independent_sampler, Mapping):  # as it stands in a log
            from tunesmith.samplers import from_spec

            object.__setattr__(self, "independent_sampler", from_spec(self.independent_sampler))
        elif not isinstance(self.independent_sampler, (BaseSampler, type(None))):
            raise InvalidTypeError(f"`independent_sampler` must be a sampler, but is {self.independent_sampler!r}.")

    def n_initial(self, space: Space) -> int:
        """How many configurations are chosen before any result is looked at."""
        return self.n_startup_trials

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        single_objective("GPSampler", history)
        if not len(space):
            return [Proposal({})] * n
        novel = Novel(space, history)
        if len(usable(history)[0]) < self.n_startup_trials:
            unit = [novel.new(row[None], rng) for row in first_rows(space, history, "gp", rng, n)]
            return [Proposal(space.to_params(row)) for row in space.decode(np.array(unit))]
        found: list[Proposal] = []
        with one_thread():
            model = self._model(space, history)
            anything = np.full(len(space), np.nan)
            for k in range(n):
                row = _first_new(model, model.promising(anything, rng), novel, rng)
                found.append(Proposal(space.to_params(space.decode(row[None])[0]), model.tags()))
                if k + 1 < n:
                    model.expect(row)
        return found

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        """The most promising values together with those that are given."""
        single_objective("GPSampler", history)
        known = space.from_params({n: v for n, v in given.items() if n in space and space[n].contains(v)})
        known = space.encode(known[None])[0]
        if len(usable(history)[0]) < self.n_startup_trials:
            row = rng.random(len(space))  # not the next point of the sequence, which all would get until it is taken
        else:
            with one_thread():
                row = self._model(space, history).promising(known, rng)[0]
        return {n: v for n, v in space.to_params(space.decode(row[None])[0]).items() if n not in given}

    def _model(self, space: Space, history: History) -> Model:
        from tunesmith.samplers._gp_model import Model  # scipy.optimize is slow to import, so only when it is needed

        return Model(space, history, self.deterministic_objective)

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        if self.warn_independent_sampling and history.n:
            _logger.warning(
                "The parameter %r is new, so it is drawn independently here, not by the Gaussian process. "
                "Declare the space (create_study(space=...)) to have it in the model from the start.",
                name,
            )
        if self.independent_sampler is not None:
            return self.independent_sampler.independent(name, distribution, history, rng)
        return super().independent(name, distribution, history, rng)

    def spec(self) -> dict[str, Any]:
        if self.independent_sampler is None:
            return super().spec()
        plain, inner = replace(self, independent_sampler=None).spec(), self.independent_sampler.spec()
        known = inner["args"] is not None and "module" not in inner
        return {**plain, "args": {**plain["args"], "independent_sampler": inner} if known else None}


def _first_new(model: Model, rows: FloatArray, novel: Novel, rng: np.random.Generator) -> FloatArray:
    """The first of the (m, d) rows that is new, else any new one, else (all are tried) the first; it is added."""
    for k in range(0, len(rows), _SOME):
        some = rows[k : k + _SOME]
        new = np.flatnonzero(~(novel.known(some) | model.repeats(some)))
        if len(new):
            novel.add(some[new[0]])
            return some[new[0]]
    return novel.new(rows[:1], rng)
