"""Other libraries' multi-fidelity methods, through their ask-and-tell interfaces, with default arguments.

- ``optuna:sampler+rule``: stopping rules of Optuna. A diverged trial fails, as one that returns NaN does.
- ``smac:mf``: SMAC3's ``MultiFidelityFacade`` (Hyperband with a random forest).
- ``dehb``: DEHB (Awad et al., 2021).
- ``synetune:asha`` and others: Syne Tune's schedulers.

SMAC and DEHB ask for a configuration and a number of epochs. Here a configuration that they ask for again goes on where
it was, which costs them less than training it again. Both need finite losses: ``WORST`` stands for a diverged run and
for all that is larger.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any

import numpy as np

from benchmarks.multifidelity.hosts import AskHost, Piece, known
from benchmarks.multifidelity.methods import Part
from benchmarks.multifidelity.tables import AXES, CONFIGURATIONS, EPOCHS, Draw
from tunesmith.pruners import Verdict

#: The largest loss that libraries without infinities are told; that of chance is .69.
WORST = 10.0

Opened = Callable[[Draw, int], AbstractContextManager[AskHost]]
"""(draw, seed): the host of a run."""


def bounded(loss: float) -> float:
    """A loss for libraries that need a finite one."""
    return WORST if math.isnan(loss) else min(loss, WORST)


# -- Optuna ------------------------------------------------------------------------------------

_SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler", "cmaes": "CmaEsSampler", "random": "RandomSampler"}
# Hyperband as in its documentation: the length of a training is stated.
_RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("NopPruner", {}),
    "median": ("MedianPruner", {}),
    "asha": ("SuccessiveHalvingPruner", {}),
    "hyperband": ("HyperbandPruner", {"min_resource": 1, "max_resource": EPOCHS, "reduction_factor": 3}),
}  # fmt: skip


class _OptunaHost(AskHost):
    def __init__(self, draw: Draw, study: Any, distributions: dict[str, Any]) -> None:
        super().__init__(draw)
        self.study, self.distributions = study, distributions

    def ask(self) -> Piece | None:
        if len(self.draw.rows) == CONFIGURATIONS:
            return None
        trial = self.study.ask(self.distributions)
        return Piece(trial.number, self.draw.take(trial.number, known(trial.params)), trial)

    def judge(self, piece: Piece, epoch: int, loss: float) -> Verdict:
        piece.handle.report(loss, epoch)
        return Verdict.STOP if piece.handle.should_prune() else Verdict.GO

    def tell(self, piece: Piece, stopped: bool) -> None:
        from optuna.trial import TrialState

        if stopped:
            self.study.tell(piece.handle, state=TrialState.PRUNED)
        elif math.isnan(piece.loss):
            self.study.tell(piece.handle, state=TrialState.FAIL)
        else:
            self.study.tell(piece.handle, piece.loss)


def optuna(sampler: Part, rule: Part) -> Opened:
    """Optuna's samplers and pruners by name."""
    import optuna as library

    library.logging.set_verbosity(library.logging.ERROR)
    sampler_class = getattr(library.samplers, _SAMPLERS.get(sampler.name, sampler.name))
    name, options = _RULES.get(rule.name, (rule.name, {}))
    rule_class = getattr(library.pruners, name)
    distributions = {a.name: library.distributions.FloatDistribution(a.low, a.high, log=True) for a in AXES}

    def open_host(draw: Draw, seed: int) -> AbstractContextManager[AskHost]:
        study = library.create_study(
            study_name=f"{draw.table.name}/{seed}",  # Hyperband puts trials into brackets by a hash of it
            sampler=sampler_class(seed=seed, **sampler.options),
            pruner=rule_class(**options | rule.options),
        )
        return nullcontext(_OptunaHost(draw, study, distributions))

    return open_host


# -- a configuration and a number of epochs at a time ------------------------------------------------------


class _FidelityHost(AskHost):
    """A method that asks for configurations up to an epoch.

    Args:
        draw: the table.
        suggest: gives (its own handle, key of the configuration, configuration, epochs).
        learn: takes the handle and the loss.
    """

    def __init__(
        self,
        draw: Draw,
        suggest: Callable[[], tuple[Any, Any, Any, float]],
        learn: Callable[[Any, float, int], None],
    ) -> None:
        super().__init__(draw)
        self.suggest, self.learn = suggest, learn
        self._known: dict[Any, tuple[int, int]] = {}  # key of a configuration -> (number, epochs trained)

    def ask(self) -> Piece | None:
        handle, key, params, fidelity = self.suggest()
        until = max(1, min(round(fidelity), EPOCHS))
        if key not in self._known:
            if len(self.draw.rows) == CONFIGURATIONS:
                return None
            self._known[key] = (len(self._known), 0)
            self.draw.take(self._known[key][0], known(params))
        number, after = self._known[key]
        row = self.draw.rows[number]
        self._known[key] = (number, max(after, until))
        loss = float(self.draw.table.valid[row, min(after, until) - 1]) if after else math.nan
        if math.isnan(loss) and after:  # it diverged before
            after = until
        return Piece(number, row, handle, min(after, until), until, loss)

    def tell(self, piece: Piece, stopped: bool) -> None:
        self.learn(piece.handle, bounded(piece.loss), piece.until - piece.after)


def smac(sampler: Part, rule: Part) -> Opened:
    """SMAC3's multi-fidelity facade."""
    from ConfigSpace import ConfigurationSpace, UniformFloatHyperparameter
    from smac import MultiFidelityFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue

    if sampler.name != "mf":
        raise SystemExit(f"smac:{sampler.name} is unknown; there is smac:mf.")

    @contextmanager
    def open_host(draw: Draw, seed: int) -> Iterator[AskHost]:
        seed %= 2**31
        space = ConfigurationSpace(seed=seed)
        space.add([UniformFloatHyperparameter(axis.name, axis.low, axis.high, log=True) for axis in AXES])
        with tempfile.TemporaryDirectory() as folder:
            scenario = Scenario(
                space, deterministic=True, n_trials=10 * CONFIGURATIONS, min_budget=1, max_budget=EPOCHS, seed=seed,
                output_directory=folder,
            )  # fmt: skip
            facade = MultiFidelityFacade(
                scenario, lambda configuration, seed, budget: 0.0, overwrite=True, logging_level=logging.ERROR,
                **sampler.options,
            )  # fmt: skip

            def suggest() -> tuple[Any, Any, Any, float]:
                info = facade.ask()
                return info, info.config, info.config, info.budget

            def learn(info: Any, loss: float, epochs: int) -> None:
                facade.tell(info, TrialValue(cost=loss, time=float(epochs)), save=False)

            yield _FidelityHost(draw, suggest, learn)

    return open_host


def dehb(sampler: Part, rule: Part) -> Opened:
    """DEHB."""
    from ConfigSpace import ConfigurationSpace, UniformFloatHyperparameter
    from dehb import DEHB
    from loguru import logger

    logger.remove()

    @contextmanager
    def open_host(draw: Draw, seed: int) -> Iterator[AskHost]:
        space = ConfigurationSpace(seed=seed % 2**31)
        space.add([UniformFloatHyperparameter(axis.name, axis.low, axis.high, log=True) for axis in AXES])
        with tempfile.TemporaryDirectory() as folder:
            method = DEHB(
                cs=space, f=None, dimensions=len(AXES), min_fidelity=1, max_fidelity=EPOCHS, seed=seed % 2**31,
                n_workers=1, output_path=folder, save_freq="end", **sampler.options,
            )  # fmt: skip

            def suggest() -> tuple[Any, Any, Any, float]:
                job = method.ask()
                return job, job["config_id"], job["config"], job["fidelity"]

            def learn(job: Any, loss: float, epochs: int) -> None:
                method.tell(job, {"fitness": loss, "cost": float(epochs)})

            yield _FidelityHost(draw, suggest, learn)

    return open_host


# -- Syne Tune ------------------------------------------------------------------------------------


class _SyneTuneHost(AskHost):
    def __init__(self, draw: Draw, scheduler: Any) -> None:
        super().__init__(draw)
        self.scheduler = scheduler

    def ask(self) -> Piece | None:
        from syne_tune.backend.trial_status import Trial

        if (number := len(self.draw.rows)) == CONFIGURATIONS:
            return None
        config = self.scheduler.suggest().config
        trial = Trial(trial_id=number, config=config, creation_time=datetime.min)
        self.scheduler.on_trial_add(trial)
        return Piece(number, self.draw.take(number, known(config)), trial)

    def judge(self, piece: Piece, epoch: int, loss: float) -> Verdict:
        found = self.scheduler.on_trial_result(piece.handle, {"loss": bounded(loss), "epoch": epoch})
        return Verdict.GO if found == "CONTINUE" else Verdict.STOP

    def tell(self, piece: Piece, stopped: bool) -> None:
        """The last epoch is a STOP for these schedulers, so only a diverged run comes to its end."""
        if stopped:
            self.scheduler.on_trial_remove(piece.handle)
        else:
            self.scheduler.on_trial_error(piece.handle)


def synetune(sampler: Part, rule: Part) -> Opened:
    """Syne Tune's multi-fidelity schedulers: asha, bohb, ashabore, ashacqr."""
    from syne_tune.config_space import loguniform
    from syne_tune.optimizer import baselines

    logging.getLogger("syne_tune").setLevel(logging.ERROR)
    scheduler_class = {name.lower(): getattr(baselines, name) for name in dir(baselines)}[sampler.name]

    def open_host(draw: Draw, seed: int) -> AbstractContextManager[AskHost]:
        np.random.seed(seed)  # brackets are drawn from the global generator
        space = {axis.name: loguniform(axis.low, axis.high) for axis in AXES}
        scheduler = scheduler_class(
            space, metric="loss", time_attr="epoch", max_t=EPOCHS, random_seed=seed % 2**31, **sampler.options
        )
        return nullcontext(_SyneTuneHost(draw, scheduler))

    return open_host
