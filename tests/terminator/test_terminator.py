"""Terminators against Optuna's, where the outcome is determined, and against other libraries' mathematics."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith import terminator as ours
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.terminator import _model, emmr

optuna = pytest.importorskip("optuna")
pytest.importorskip("optuna.terminator")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its terminators experimental, and deprecated
        yield


def bowl(trial: Any) -> float:
    x, y = trial.suggest_float("x", -5, 5), trial.suggest_float("y", -5, 5)
    return (x - 1) ** 2 + (y + 2) ** 2 + (0.5 if trial.suggest_categorical("c", ["a", "b"]) == "a" else 0.0)


def searched(n: int, direction: str = "minimize", **options: Any) -> tunesmith.Study:
    sign = -1.0 if direction == "maximize" else 1.0
    study = tunesmith.create_study(seed=1, sampler="tpe", direction=direction, **options)
    study.optimize(lambda t: sign * bowl(t), n_trials=n)
    return study


def as_optuna(study: tunesmith.Study) -> Any:
    """The same trials in a study of Optuna."""
    copy = optuna.create_study(directions=[d.name.lower() for d in study.directions])
    kinds = {"x": (-5, 5), "y": (-5, 5), "c": ["a", "b"]}
    for trial in study.trials:
        spaces = {
            n: optuna.distributions.FloatDistribution(*kinds[n])
            if n != "c"
            else optuna.distributions.CategoricalDistribution(kinds[n])
            for n in trial.params
        }
        copy.add_trial(
            optuna.trial.create_trial(
                params=trial.params, distributions=spaces, state=optuna.trial.TrialState[trial.state.name],
                values=trial.values, system_attrs=dict(trial.system_attrs),
            )
        )  # fmt: skip
    return copy


def told(values: list[float | None], **options: Any) -> tunesmith.Study:
    """A study with these values, ``None`` for a failed trial."""
    study = tunesmith.create_study(seed=0, sampler="random", **options)
    for value in values:
        trial = study.ask()
        trial.suggest_float("x", -5, 5)
        study.tell(trial, value, tunesmith.TrialState.FAIL if value is None else None)
    return study


class TestStagnation:
    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    @pytest.mark.parametrize("seed", range(4))
    def test_as_optuna(self, direction: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        values = [None if v == 0 else float(v) for v in rng.integers(0, 6, 12)]  # equals and failures
        study = told([3.0, *values], direction=direction)
        theirs = optuna.terminator.BestValueStagnationEvaluator(5)
        for n in range(1, 14):
            known = as_optuna(study).trials[:n]
            expected = theirs.evaluate(known, as_optuna(study).direction)
            assert ours.BestValueStagnationEvaluator(5).evaluate(study.history, np.arange(n)) == expected

    @pytest.mark.parametrize("patience", [0, 1, 4])
    def test_the_search_ends_at_the_same_trial(self, patience: int) -> None:
        lengths = []
        for library in (tunesmith, optuna):
            module = library.terminator
            end = module.Terminator(module.BestValueStagnationEvaluator(patience), min_n_trials=2)
            study = library.create_study()
            study.optimize(
                lambda t: t.suggest_float("x", 0, 1) * 0 + [5, 4, 3, 3, 4, 2, 2, 2, 3, 2, 2, 2, 2, 2][t.number],
                n_trials=14, callbacks=[module.TerminatorCallback(end)],
            )  # fmt: skip
            lengths.append(len(study.trials))
        assert lengths[0] == lengths[1]

    def test_nothing_complete(self) -> None:
        with pytest.raises(ValueError, match="No trial is COMPLETE"):
            ours.BestValueStagnationEvaluator().evaluate(told([None]).history)


class TestErrors:
    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_cross_validation_as_optuna(self, direction: str) -> None:
        scores = np.random.default_rng(0).random((7, 5))
        study, copy = (m.create_study(direction=direction) for m in (tunesmith, optuna))
        for row in scores:
            for s, report in ((study, ours), (copy, optuna.terminator)):
                trial = s.ask()
                report.report_cross_validation_scores(trial, row.tolist())
                s.tell(trial, row.mean())
        expected = optuna.terminator.CrossValidationErrorEvaluator().evaluate(copy.trials, copy.direction)
        assert ours.CrossValidationErrorEvaluator().evaluate(study.history) == pytest.approx(expected, rel=1e-12)
        assert study.trials[3].metrics == {"cross_validation_score": dict(enumerate(scores[3].tolist(), 1))}

    def test_scores_that_are_missing_or_wrong(self) -> None:
        with pytest.raises(ValueError, match="report_cross_validation_scores"):
            ours.CrossValidationErrorEvaluator().evaluate(told([1.0]).history)
        trial = tunesmith.create_study().ask()
        for scores in ([], [0.5], [0.5, math.nan]):
            with pytest.raises(InvalidValueError, match="at least two folds"):
                ours.report_cross_validation_scores(trial, scores)

    def test_median_as_optuna(self) -> None:
        """With an improvement evaluator whose values are determined."""
        study = told([float(v) for v in np.random.default_rng(3).integers(0, 9, 40)])
        copy = as_optuna(study)
        for n in (5, 11, 12, 40):
            known = study.history if n == 40 else told(list(study.history.Y[:n, 0])).history
            ours_ = ours.MedianErrorEvaluator(ours.BestValueStagnationEvaluator(50), 4, 8, 0.1).evaluate(known)
            theirs = optuna.terminator.MedianErrorEvaluator(
                optuna.terminator.BestValueStagnationEvaluator(50), 4, 8, 0.1
            ).evaluate(copy.trials[:n], copy.direction)
            assert ours_ == theirs
            assert (ours_ < 0) == (n < 12)

    def test_the_threshold_is_one_of_the_history_not_of_when_it_was_asked(self) -> None:
        study = tunesmith.create_study(seed=1, sampler="random")
        rule = ours.MedianErrorEvaluator(ours.RegretBoundEvaluator(min_n_trials=2), 3, 5)
        seen = set()
        for _ in range(20):
            study.optimize(bowl, n_trials=1)
            seen.add(rule.evaluate(study.history))
        fresh = tunesmith.create_study(seed=1)
        fresh.add_trials(study.trials)
        assert len(seen) == 2  # none yet, and the threshold
        assert rule.evaluate(fresh.history) in seen

    def test_a_median_that_is_not_known_ends_nothing(self) -> None:
        study = told([1.0] * 3)
        assert ours.MedianErrorEvaluator(ours.EMMREvaluator(), 0, 1).evaluate(study.history) < 0


class TestModels:
    @pytest.fixture
    def history(self) -> History:
        return searched(40).history

    def posterior(self, model: _model.Model, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance by scikit-learn."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern

        theta, features = model._theta, model._features
        lengths = np.exp(theta[:-2])[features.group]
        kernel = ConstantKernel(np.exp(theta[-2]), "fixed") * Matern(lengths, "fixed", nu=2.5)
        other = GaussianProcessRegressor(kernel, alpha=np.exp(theta[-1]), optimizer=None)
        return other.fit(model._x, model._y).predict(features(unit), return_cov=True)

    def model(self, history: History, n: int) -> tuple[_model.Observed, np.ndarray, _model.Model]:
        observed = _model.Observed(history, np.arange(n))
        y, _ = observed.standardised()
        return observed, y, _model.Model(observed, _model.fitted(observed, y), y)

    def test_posterior(self, history: History) -> None:
        observed, _, model = self.model(history, 25)
        unit = np.random.default_rng(0).random((6, 3))
        mean, cov = self.posterior(model, unit)
        np.testing.assert_allclose(model.predict(unit)[0], mean, atol=1e-8)
        np.testing.assert_allclose(model.predict(unit)[1], np.diag(cov), atol=1e-7)
        expected = cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]
        assert model.variance_of_difference(unit[:2]) == pytest.approx(expected, rel=1e-5)
        assert model.variance_of_difference(observed.unit[[3, 3]]) == pytest.approx(0.0, abs=1e-9)

    def test_regret_bound_is_that_of_a_fine_grid(self, history: History) -> None:
        """The search in the space finds what 20,000 points find, and a little more."""
        observed, _, model = self.model(history, 25)
        unit = np.random.default_rng(0).random((20_000, 3))
        mean, cov = zip(*(self.posterior(model, part) for part in np.split(unit, 20)), strict=True)
        beta = 3.0
        lower = np.concatenate(mean) - np.sqrt(beta * np.concatenate([np.diag(c) for c in cov]))
        at, cov_at = self.posterior(model, observed.unit)
        upper = at + np.sqrt(beta * np.diag(cov_at))
        grid = upper.min() - min(lower.min(), (at - np.sqrt(beta * np.diag(cov_at))).min())
        found = model.regret_bound(beta, np.random.default_rng(1))
        assert grid - 1e-6 <= found <= grid + 0.1

    def test_divergence_is_that_of_the_whole_posterior(self, history: History) -> None:
        """Theorem 1's divergence is that of two processes; here that of their values at the observed points."""
        observed, y, now = self.model(history, 12)
        before = _model.Model(observed, now._theta, y[:-1])
        mean0, cov0 = self.posterior(before, observed.unit)
        mean1, cov1 = self.posterior(now, observed.unit)
        inverse, gap = np.linalg.inv(cov0), mean0 - mean1
        logs = np.linalg.slogdet(cov0)[1] - np.linalg.slogdet(cov1)[1]
        expected = 0.5 * (np.trace(inverse @ cov1) + gap @ inverse @ gap - len(gap) + logs)
        assert emmr._divergence(observed, y, before) == pytest.approx(expected, rel=1e-3)

    @pytest.mark.parametrize("last", [-3.0, 9.0], ids=["a new best", "not the best"])
    def test_change_of_the_best(self, history: History, last: float) -> None:
        observed, y, _ = self.model(history, 12)
        y = np.append(y[:-1], last)
        theta = _model.fitted(observed, y)
        before, now = _model.Model(observed, theta, y[:-1]), _model.Model(observed, theta, y)
        a, b = int(np.argmin(y)), int(np.argmin(y[:-1]))
        mean, cov = self.posterior(now, observed.unit[[a, b]])
        drawn = np.random.default_rng(0).multivariate_normal(mean, cov, 200_000)
        change = abs(self.posterior(before, observed.unit[[b]])[0][0] - mean[0])
        expected = change + (drawn[:, 0] - drawn.min(axis=1)).mean()
        assert emmr._change_of_best(observed, y, before, now) == pytest.approx(expected, abs=3e-3)

    @pytest.mark.parametrize("n", [20, 40])
    def test_of_the_size_of_optunas(self, history: History, n: int) -> None:
        """Other priors, so only about the same."""
        copy = as_optuna(searched(40))
        theirs = optuna.terminator.RegretBoundEvaluator(seed=0).evaluate(copy.trials[:n], copy.direction)
        assert theirs / 4 < ours.RegretBoundEvaluator().evaluate(history, np.arange(n)) < theirs * 4
        theirs = optuna.terminator.EMMREvaluator(seed=0).evaluate(copy.trials[:n], copy.direction)
        assert theirs / 5 < ours.EMMREvaluator().evaluate(history, np.arange(n)) < theirs * 5

    @pytest.mark.parametrize("evaluator", [ours.RegretBoundEvaluator(), ours.EMMREvaluator()], ids=["regret", "emmr"])
    def test_pure(self, evaluator: Any, tmp_path: Any) -> None:
        """The same of a maximised study with the signs turned, and after the log is read again."""
        url = f"sqlite:///{tmp_path}/s.db"
        study = searched(25, study_name="s", storage=url)
        value = evaluator.evaluate(study.history)
        assert value > 0
        again = tunesmith.load_study(study_name="s", storage=url).history
        assert evaluator.evaluate(again) == value
        turned = tunesmith.create_study(seed=1, direction="maximize")
        for trial in study.trials:
            turned.add_trial(
                tunesmith.create_trial(params=trial.params, distributions=trial.distributions, value=-trial.value)
            )
        assert evaluator.evaluate(turned.history) == pytest.approx(value, rel=1e-9)

    def test_awkward_results(self) -> None:
        """Infinite and equal values, parameters that some trials lack, failures."""

        def awkward(trial: Any) -> float:
            depth = trial.suggest_int("depth", 1, 3)
            for k in range(depth):
                trial.suggest_float(f"w{k}", 0, 1)
            return [math.inf, 2.0, math.nan, 2.0][trial.number % 4]

        study = tunesmith.create_study(seed=0, sampler="random")
        study.optimize(awkward, n_trials=40)
        for evaluator in (ours.RegretBoundEvaluator(), ours.EMMREvaluator()):
            assert 0 <= evaluator.evaluate(study.history) < math.inf
        equal = told([1.0] * 25).history
        assert ours.RegretBoundEvaluator().evaluate(equal) == 0.0

    @pytest.mark.parametrize("scale", [1e-200, 1e300])
    def test_the_scale_of_the_objective(self, history: History, scale: float) -> None:
        study = tunesmith.create_study(seed=1)
        for trial in searched(40).trials:
            study.add_trial(
                tunesmith.create_trial(
                    params=trial.params, distributions=trial.distributions, value=(trial.value or 0.0) * scale
                )
            )
        regret, change = ours.RegretBoundEvaluator(), ours.EMMREvaluator()
        assert regret.evaluate(study.history) == pytest.approx(scale * regret.evaluate(history), rel=1e-3)
        assert change.evaluate(study.history) == pytest.approx(change.evaluate(history), rel=1e-3)

    def test_many_results(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A model of all would take too long; the best is part of it, however many equals there are."""
        for module in ("emmr", "regret_bound"):
            monkeypatch.setattr(f"tunesmith.terminator.{module}.MOST", 10)
        lowest: list[float] = []
        init = _model.Model.__init__

        def seen(self: Any, observed: Any, theta: Any, y: np.ndarray) -> None:
            lowest.append(float(y.min()))
            init(self, observed, theta, y)

        monkeypatch.setattr(_model.Model, "__init__", seen)
        history = told([1.0] * 60 + [0.0] + [1.0] * 20).history
        for evaluator in (ours.RegretBoundEvaluator(), ours.EMMREvaluator()):
            lowest.clear()
            assert evaluator.evaluate(history) > 0
            assert min(lowest) < -1

    def test_no_parameter(self) -> None:
        study = tunesmith.create_study()
        study.optimize(lambda t: 1.0, n_trials=25)
        with pytest.raises(ValueError, match="BestValueStagnationEvaluator"):
            ours.RegretBoundEvaluator().evaluate(study.history)
        with pytest.warns(UserWarning, match="no parameter"):
            assert ours.EMMREvaluator().evaluate(study.history) == math.inf


class TestTerminator:
    def test_stops_a_search_that_has_converged(self) -> None:
        """The regret that is left is below what the user cares for, and really is."""
        study = tunesmith.create_study(seed=0, sampler="gp")
        end = ours.Terminator(error_evaluator=ours.StaticErrorEvaluator(1.0))
        study.optimize(bowl, n_trials=80, callbacks=[ours.TerminatorCallback(end)])
        assert 20 <= len(study.trials) < 80
        assert study.best_value < 1.0  # the optimum is 0

    def test_emmr_with_its_threshold(self) -> None:
        evaluator = ours.EMMREvaluator()
        end = ours.Terminator(evaluator, ours.MedianErrorEvaluator(evaluator, 5, 10, 0.05), min_n_trials=15)
        study = tunesmith.create_study(seed=0, sampler="gp")
        study.optimize(bowl, n_trials=80, callbacks=[ours.TerminatorCallback(end)])
        assert 15 <= len(study.trials) < 80

    def test_the_default_asks_for_scores(self) -> None:
        study = told([1.0, 2.0] * 10)
        with pytest.raises(ValueError, match="report_cross_validation_scores"):
            ours.Terminator().should_terminate(study)
        assert not ours.Terminator(min_n_trials=21).should_terminate(study)

    def test_what_has_to_hold(self) -> None:
        study = tunesmith.create_study(directions=["minimize"] * 2)
        with pytest.raises(RuntimeError, match="one objective"):
            ours.Terminator().should_terminate(study)
        impossible = [
            lambda: ours.Terminator(min_n_trials=0),
            lambda: ours.EMMREvaluator(min_n_trials=1),
            lambda: ours.EMMREvaluator(delta=0.0),
            lambda: ours.RegretBoundEvaluator(top_trials_ratio=0.0),
            lambda: ours.RegretBoundEvaluator(min_n_trials=0),
            lambda: ours.BestValueStagnationEvaluator(-1),
            lambda: ours.StaticErrorEvaluator(math.nan),
            lambda: ours.MedianErrorEvaluator(ours.EMMREvaluator(), warm_up_trials=-1),
            lambda: ours.MedianErrorEvaluator(ours.EMMREvaluator(), n_initial_trials=0),
            lambda: ours.MedianErrorEvaluator(ours.EMMREvaluator(), threshold_ratio=0.0),
        ]
        for make in impossible:
            with pytest.raises(ValueError, match=r"must|NaN"):
                make()

    def test_infeasible_trials_do_not_count(self) -> None:
        study = tunesmith.create_study()
        for k, value in enumerate([3.0, 0.0, 4.0]):
            trial = study.ask()
            trial.set_constraint("c", 1.0 if k == 1 else -1.0)
            study.tell(trial, value)
        assert ours.BestValueStagnationEvaluator(5).evaluate(study.history) == 4

    def test_names_are_optunas(self) -> None:
        import inspect

        for name in optuna.terminator.__all__:
            theirs, mine = getattr(optuna.terminator, name), getattr(ours, name)
            if name.startswith("Base") or name == "CrossValidationErrorEvaluator":
                continue
            assert list(inspect.signature(theirs).parameters) == list(inspect.signature(mine).parameters)
            for argument, known in inspect.signature(theirs).parameters.items():
                assert inspect.signature(mine).parameters[argument].default == known.default
