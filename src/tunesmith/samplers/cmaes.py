"""CMA-ES: a Gaussian that learns from the ranking of its samples where to go, how far, and in which directions.

Hansen, N. (2016): The CMA evolution strategy: a tutorial. arXiv:1604.00772.
Auger, A. and Hansen, N. (2005): A restart CMA evolution strategy with increasing population size. Proc. IEEE CEC,
1769-1776 (IPOP).
Hansen, N. (2009): Benchmarking a BI-population CMA-ES on the BBOB-2009 function testbed. Proc. GECCO, 2389-2396.
Hansen, N., Niederberger, A. S. P., Guzzella, L. and Koumoutsakos, P. (2009): A method for handling uncertainty in
evolutionary optimization with an application to feedback control of combustion. IEEE Trans. Evol. Comput. 13, 180-197
(the penalty for positions beyond the bounds).
Hansen, N. (2011): Injecting external solutions into CMA-ES. arXiv:1110.4181.
Ros, R. and Hansen, N. (2008): A simple modification in CMA-ES achieving linear time and space complexity. Proc. PPSN,
296-305 (separable).
Nomura, M. et al. (2021): Warm starting CMA-ES for hyperparameter optimization. Proc. AAAI, 9188-9196.
Hamano, R. et al. (2022): CMA-ES with margin. Proc. GECCO, 639-647; (2025): CatCMA with margin. Proc. GECCO.
Nomura, M., Akimoto, Y. and Ono, I. (2023): CMA-ES with learning rate adaptation. Proc. GECCO, 839-847.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tunesmith import logging
from tunesmith._arguments import number, whole
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._cmaes_coordinates import MOST_LISTED, Coordinates, coordinates_of, promising, unit_rows
from tunesmith.samplers._cmaes_engine import Start
from tunesmith.samplers._cmaes_replay import Plan, Replay
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._results import single_objective
from tunesmith.space import FloatArray, Space
from tunesmith.trial import FrozenTrial, TrialState

_logger = logging.get_logger(__name__)

#: How often a configuration that is known already is drawn again.
REDRAWS = 20
#: Part of the source trials that a warm start uses, and the standard deviation each stands for (Nomura et al. 2021).
_GAMMA, _ALPHA = 0.1, 0.1


@dataclass(frozen=True)
class CmaEsSampler(BaseSampler):
    """The covariance matrix adaptation evolution strategy, as the ``cmaes`` package has it.

    *Which variant*: continuous spaces are searched by CMA-ES; with integers or steps among the parameters by CMA-ES
    with margin (Hamano et al. 2022), which keeps a coordinate from being stuck in one bin; with choices by CatCMA with
    margin (2025), which has a probability for every value of a choice. Numbers are searched in the unit cube, on their
    own scale.

    *State*: the position in the distribution, the generation and a code of the space and arguments are the tags
    ``cmaes.x``, ``cmaes.g`` and ``cmaes.s`` of each trial; the strategy is replayed from them, generation by
    generation. Each trial is drawn by its own generator, so trials of a generation are independent.

    *Parallel*: nobody waits. Whoever asks gets a draw of the present distribution, which is updated when as many
    trials have finished as the population has members. Late trials of earlier distributions count in the generation in
    which they finish, shortened to a plausible length (Hansen 2011).

    *Results* count by their order alone: feasible ones first, then by violation of constraints; complete trials before
    pruned ones (see ``consider_pruned_trials``); trials without a value, failed ones too, are worst. A generation
    without any value changes nothing.

    *Bounds*: a position beyond the cube is evaluated at the nearest point of it and ranked worse by its distance
    (Hansen et al. 2009). Drawing again until a point lies inside, as Optuna does, hardly finds optima on the bounds.

    *Conditions*: a parameter that is not active keeps its coordinate, which is drawn and learnt from as others are;
    what is learnt there is noise with the mean zero.

    *Known configurations*: where all values are countable, or all lie on the bounds, a draw that was proposed before is
    drawn again, at most 20 times; after that the configuration is a random one that was not tried yet.

    *Other trials* (enqueued, added, of another method or space): the best one that finishes during a generation takes
    part in its update in place of the worst member (Hansen 2011).

    Args:
        x0: mean of the first distribution, name -> number; the middle of the range for names that are missing.
        sigma0: its standard deviation in the unit cube; by default 1/6, so that three of it reach the bounds.
        n_startup_trials: random trials that have to finish first. None by default: the first generation is drawn
            around the middle of the space, which is on average the better place.
        independent_sampler: draws a parameter that is met for the first time in a trial; uniform by default.
        warn_independent_sampling: warn when a later trial meets a new parameter.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).
        consider_pruned_trials: rank a pruned trial by its last value among the others. By default every complete trial
            is better than it, since values after fewer epochs are worse or more optimistic. (Optuna leaves it out.)
        restart_strategy: what to do when the distribution has converged: ``"ipop"`` and ``"bipop"`` begin again from a
            random mean with a larger population, or alternate large and small ones. ``None`` goes on.
        popsize: members of a generation; by default 4 + floor(3 ln D) for D coordinates.
        inc_popsize: factor of the population at a restart.
        use_separable_cma: a diagonal covariance: learns faster in many dimensions, if they are separable.
        with_margin: ``False`` searches integers as rounded continua; ``True`` is the default's choice, where there are
            any.
        lr_adapt: adapt the learning rates to noise and local optima (Nomura et al. 2023); for long searches.
        source_trials: trials of a similar task, as :class:`~tunesmith.trial.FrozenTrial` or pairs (parameters, value);
            the first distribution is that of their best tenth (Nomura et al. 2021). Values have the study's direction.

    With ``use_separable_cma`` or ``lr_adapt`` choices are drawn independently.

    Raises:
        InvalidValueError: an impossible argument, or two that exclude each other; a study with several objectives; a
            space without a numerical parameter for a variant that needs one; source trials that share no parameter.
    """

    x0: Mapping[str, Any] | None = None
    sigma0: float | None = None
    n_startup_trials: int = 0
    independent_sampler: BaseSampler | None = None
    warn_independent_sampling: bool = True
    seed: int | None = None
    consider_pruned_trials: bool = False
    restart_strategy: str | None = "ipop"
    popsize: int | None = None
    inc_popsize: int = 2
    use_separable_cma: bool = False
    with_margin: bool | None = None
    lr_adapt: bool = False
    source_trials: Sequence[Any] | None = None

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cma-es": {},
        "bipop-cmaes": {"restart_strategy": "bipop"},
    }

    def __post_init__(self) -> None:
        if isinstance(self.independent_sampler, Mapping):  # as it stands in a log
            from tunesmith.samplers import from_spec

            object.__setattr__(self, "independent_sampler", from_spec(self.independent_sampler))
        elif not isinstance(self.independent_sampler, (BaseSampler, type(None))):
            raise InvalidTypeError(f"`independent_sampler` must be a sampler, but is {self.independent_sampler!r}.")
        whole("n_startup_trials", self.n_startup_trials, 0)
        whole("inc_popsize", self.inc_popsize, 1)
        if self.popsize is not None:
            whole("popsize", self.popsize, 2)
        self._check_start()
        if self.restart_strategy not in (None, "ipop", "bipop"):
            raise InvalidValueError(
                f"`restart_strategy` must be 'ipop', 'bipop' or None, but is {self.restart_strategy!r}."
            )
        chosen = [name for name in ("use_separable_cma", "with_margin", "lr_adapt") if getattr(self, name)]
        if len(chosen) > 1:
            raise InvalidValueError(f"{' and '.join(chosen)} exclude each other; choose one of them.")

    def _check_start(self) -> None:
        if self.sigma0 is not None:
            number("sigma0", self.sigma0, 1e-12)
        if not isinstance(self.x0, (Mapping, type(None))):
            raise InvalidTypeError(f"`x0` must be a mapping name -> value, but is {self.x0!r}.")
        if self.source_trials is None:
            return
        if self.x0 is not None or self.sigma0 is not None:
            raise InvalidValueError(
                "`source_trials` already gives the first distribution; leave out `x0` and `sigma0`."
            )
        object.__setattr__(self, "source_trials", tuple(self._sources(self.source_trials)))

    def _sources(self, given: Any) -> list[tuple[dict[str, Any], float]]:
        states = (TrialState.COMPLETE, TrialState.PRUNED) if self.consider_pruned_trials else (TrialState.COMPLETE,)
        pairs = []
        for trial in given if isinstance(given, Sequence) and not isinstance(given, str) else [given]:
            if isinstance(trial, FrozenTrial):
                if trial.state not in states or trial.value is None:
                    continue
                params, value = trial.params, trial.value
            else:
                try:
                    params, value = trial
                    params, value = dict(params), float(value)
                except (TypeError, ValueError):
                    raise InvalidTypeError(
                        f"`source_trials` must be a list of trials or of pairs (parameters, value), but has {trial!r}."
                    ) from None
            if math.isfinite(value):
                pairs.append((dict(params), float(value)))
        if not pairs:
            raise InvalidValueError("`source_trials` has no complete trial with a finite value to start from.")
        return pairs

    def n_initial(self, space: Space) -> int:
        """How many configurations are chosen before any result is looked at."""
        coordinates = self._coordinates(space)
        n = max(1, coordinates.d + coordinates.k)
        return self.n_startup_trials + (self.popsize or 4 + math.floor(3 * math.log(n)))

    # -- proposals ----------------------------------------------------------------------------------------------

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        single_objective("CMA-ES", history)
        coordinates = self._coordinates(space)
        if not (coordinates.d or coordinates.k):
            return [Proposal(space.to_params(row)) for row in space.decode(rng.random((n, len(space))))]
        seen = _Seen(space, history, coordinates)
        if self.n_startup_trials and np.count_nonzero(history.is_complete) < self.n_startup_trials:
            rows = [seen.novel.new(rng.random((REDRAWS, len(space))), rng) for _ in range(n)]
            return [Proposal(space.to_params(space.decode(row))) for row in rows]
        code = self._code(space)
        found = []

        def begin() -> Replay:
            return Replay(self._plan(space, history, coordinates, code), space)

        with history.memo(("cmaes", code), begin) as state:
            for _ in range(n):
                x, row, step = self._draw(state, seen, rng)
                tags = {"cmaes.x": x.tolist(), "cmaes.g": step, "cmaes.s": code}
                found.append(Proposal(space.to_params(space.decode(row)), tags))
        return found

    def _draw(self, state: Replay, seen: _Seen, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, int]:
        """Position, row of the unit cube, and the generation (-1: of no distribution) of the first draw that is new."""
        first = None
        for _ in range(1 + REDRAWS):
            x, point = state.engine.draw(int(rng.integers(2**32)))
            row = seen.coordinates.row(point, rng)
            if not seen.has(row):
                seen.add(row)
                return x, row, state.generation
            first = first or (x, row, state.generation)
        assert first is not None
        other = seen.novel.untried(rng)
        if other is None:
            return first
        seen.add(other)
        return state.engine.located(seen.coordinates.position(other[None])[0]), other, -1

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        if self.warn_independent_sampling and history.n:
            _logger.warning(
                "The parameter %r is new, so it is drawn independently here, not by CMA-ES. "
                "Declare the space (create_study(space=...)) to have it searched from the start.",
                name,
            )
        if self.independent_sampler is not None:
            return self.independent_sampler.independent(name, distribution, history, rng)
        return super().independent(name, distribution, history, rng)

    # -- what is searched, and from where -----------------------------------------------------------------------

    def _coordinates(self, space: Space) -> Coordinates:
        together = not (self.use_separable_cma or self.lr_adapt)
        mixed = together and bool(space.columns.categorical.any())
        discrete = together and self.with_margin is not False
        found = coordinates_of(space, discrete, together, MOST_LISTED if mixed else math.inf)
        if len(found.apart) and not found.d:
            name = "use_separable_cma" if self.use_separable_cma else "lr_adapt"
            raise InvalidValueError(
                f"CMA-ES needs at least one numerical parameter: the space has only choices, {list(space)}; leave out "
                f"`{name}`, and CatCMA searches them."
            )
        return found

    def _plan(self, space: Space, history: History, coordinates: Coordinates, code: int) -> Plan:
        if coordinates.k:
            kind = "mixed"
        elif self.use_separable_cma and coordinates.d > 1:  # of one parameter the covariance is diagonal
            kind = "separable"
        else:
            kind = "margin" if self.with_margin or not coordinates.continuous.all() else "cma"
        return Plan(
            kind, self.lr_adapt, coordinates, self._start(space, history, coordinates), self.popsize,
            self.restart_strategy, self.inc_popsize, self.consider_pruned_trials, code, history.seed,
        )  # fmt: skip

    def _start(self, space: Space, history: History, coordinates: Coordinates) -> Start:
        d = coordinates.d
        if self.source_trials is None:
            x0 = coordinates.position(unit_rows(space, [self.x0 or {}]))[0]
            return Start(np.where(np.isnan(x0), 0.5, x0)[:d], 1 / 6 if self.sigma0 is None else float(self.sigma0))
        rows = unit_rows(space, [params for params, _ in self.source_trials])
        if np.isnan(rows).all():
            raise InvalidValueError(
                f"The parameters of `source_trials`, {sorted(self.source_trials[0][0])}, are not among those of this "
                f"study, {list(space)}."
            )
        loss = [value * history.directions[0] for _, value in self.source_trials]
        x = coordinates.position(rows)
        numeric = np.where(np.isnan(x), 0.5, x)[:, :d]
        mean, sigma, cov, best = promising(numeric, loss, _GAMMA, _ALPHA)
        chances = _chances(x[best, d:], coordinates.sizes) if coordinates.k else None
        return Start(mean, sigma, None if self.use_separable_cma else cov, chances)

    def _code(self, space: Space) -> int:
        """48 bits that say which space and arguments a step belongs to."""
        return int(hashlib.sha256(f"{space.id} {self._arguments}".encode()).hexdigest()[:12], 16)

    @cached_property
    def _arguments(self) -> str:
        """Those that make another search."""
        others = ("seed", "independent_sampler", "warn_independent_sampling", "n_startup_trials")
        return repr([getattr(self, f.name) for f in fields(self) if f.name not in others])

    def spec(self) -> dict[str, Any]:
        if self.independent_sampler is None:
            return super().spec()
        plain, inner = replace(self, independent_sampler=None).spec(), self.independent_sampler.spec()
        known = plain["args"] is not None and inner["args"] is not None
        return {**plain, "args": {**plain["args"], "independent_sampler": inner} if known else None}


class _Seen:
    """Which configurations there are already, also those on the bounds of a continuous space."""

    def __init__(self, space: Space, history: History, coordinates: Coordinates) -> None:
        self.novel, self.coordinates = Novel(space, history), coordinates
        self._space, self._history = space, history
        self._new: set[bytes] | None = None

    def has(self, row: FloatArray) -> bool:
        if self.novel.possible and self.novel.has(row):
            return True
        if not self.coordinates.on_walls(row[None])[0]:
            return False
        key = _wall_key(self._active(row))
        name = ("cmaes walls", self._space.id, self.coordinates.continuous.tobytes())
        with self._history.memo(name, lambda: _Walls(self._space, self.coordinates)) as walls:
            return key in walls.keys or key in self._pending()

    def add(self, row: FloatArray) -> None:
        self.novel.add(row)
        if self.coordinates.on_walls(row[None])[0]:
            self._pending().add(_wall_key(self._active(row)))

    def _pending(self) -> set[bytes]:
        if self._new is None:
            self._new = {_wall_key(row) for row in self._history.encode_open(self._space)}
        return self._new

    def _active(self, row: FloatArray) -> FloatArray:
        if not self._space.conditions:
            return row
        params = self._space.active(self._space.to_params(self._space.decode(row)))
        return self._space.encode(self._space.from_params(params))


class _Walls:
    """Memo: keys of the finished configurations that lie on the bounds."""

    def __init__(self, space: Space, coordinates: Coordinates) -> None:
        self.space, self.coordinates, self.n = space, coordinates, 0
        self.keys: set[bytes] = set()

    def extend(self, history: History) -> None:
        rows = np.round(history.encode(self.space)[self.n :], 9)
        self.keys |= {_wall_key(row) for row in rows[self.coordinates.on_walls(rows)]}
        self.n = history.n


def _wall_key(row: FloatArray) -> bytes:
    """Of a row of the unit cube; a bound on a logarithmic scale is not hit to the last bit."""
    return np.where(np.isnan(row), -1.0, np.round(row, 9) + 0.0).tobytes()


def _chances(chosen: FloatArray, sizes: Any) -> FloatArray:
    """(k, most) how often the best solutions have each value of a choice, with one more solution spread evenly."""
    chances = np.zeros((len(sizes), max(sizes)))
    for j, size in enumerate(sizes):
        known = chosen[:, j][~np.isnan(chosen[:, j])].astype(np.int64)
        counts = np.bincount(known, minlength=size) + 1 / size
        chances[j, :size] = counts / counts.sum()
    return chances
