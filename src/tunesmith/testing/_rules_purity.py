"""The part of the conformance kit for stopping rules that tests what "pure functions of the history" means."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.fold import Fold
from tunesmith.pruners import BasePruner
from tunesmith.testing._purity import _generator_states, _global_generators, _variants
from tunesmith.testing._rules import (
    NAN,
    Task,
    answers,
    facts,
    folded,
    interleaved,
    load,
    new_study,
    rebuilt,
    records,
    reloadable,
    search,
)
from tunesmith.testing._searches import retimed, snapshot
from tunesmith.trial import TrialState


class RulePurity:
    """Nothing but the history and the arguments has an influence, and nothing else is touched."""

    trials: ClassVar[int]
    epochs: ClassVar[int]

    def test_is_a_value(self, pruner: BasePruner) -> None:
        """A frozen dataclass, whose arguments come back from a log."""
        assert dataclasses.is_dataclass(pruner)
        name = dataclasses.fields(pruner)[0].name if dataclasses.fields(pruner) else "some"
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(pruner, name, 3)
        assert rebuilt(pruner) == pruner
        assert rebuilt(pruner).spec() == pruner.spec()
        assert hash(pruner) == hash(rebuilt(pruner))

    def test_comes_back_from_the_log(self, pruner: BasePruner) -> None:
        """``load_study`` without a rule takes the one that the study had."""
        study = new_study(pruner, study_name="s")
        again = load(study.storage, pruner)
        assert again.pruner == pruner
        if reloadable(pruner):
            assert again.pruner is not pruner

    def test_every_argument_is_kept(self, pruner: BasePruner) -> None:
        """So are other values of the arguments, one by one, as far as the class takes them."""
        variants: Callable[[Any], Iterator[tuple[Any, str]]] = _variants
        for changed, name in variants(pruner):
            if changed.spec()["args"] is None:
                continue
            value, expected = getattr(rebuilt(changed), name), getattr(changed, name)
            assert (type(value), value) == (type(expected), expected), f"{name}={expected!r} came back as {value!r}"

    def test_bad_arguments(self, pruner: BasePruner) -> None:
        """What is no number where a number belongs is refused at once, with an error of the library's."""
        assert dataclasses.is_dataclass(pruner)
        for field in dataclasses.fields(pruner):
            value = getattr(pruner, field.name)
            if not field.init or isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            for bad in (NAN, "no number", object(), [1]):
                with pytest.raises((InvalidTypeError, InvalidValueError), match=field.name):
                    dataclasses.replace(pruner, **{field.name: bad})

    def test_pure_at_every_moment(self, pruner: BasePruner) -> None:
        """After each record of a log the rule says the same: asked twice; with what it kept, and reading the log anew;
        to this snapshot again, when the study has gone on; and as an instance rebuilt from the log."""
        log = records(interleaved(pruner, self.trials, self.epochs))
        fold, kept = Fold(), []
        for length, record in enumerate(log, 1):
            for event in record:
                fold.apply(event)
            history = fold.history()
            said = answers(pruner, history)
            assert answers(pruner, history) == said, f"asked twice after record {length}"
            assert answers(pruner, folded(log[:length])) == said, f"the log read again up to record {length}"
            kept.append((history, said))
        other = rebuilt(pruner)
        for history, said in reversed(kept):
            assert answers(pruner, history) == said, "an earlier snapshot, asked again"
            assert answers(other, history) == said, "rebuilt from the log"

    def test_edits(self, pruner: BasePruner) -> None:
        """After trials were edited and deleted, at any moment, it says what it does where the log is read anew; and to
        an earlier snapshot what it said before."""
        log = records(interleaved(pruner, self.trials, self.epochs))
        written: list[list[dict[str, Any]]] = []
        fold = Fold()
        for length, record in enumerate(log, 1):
            earlier = fold.history()
            said = answers(pruner, earlier) if written else None
            edit = _edit(fold, length) if length % 5 == 0 else []
            for event in [*edit, *record]:
                fold.apply(event)
            written.append([*edit, *record])
            assert answers(pruner, fold.history()) == answers(pruner, folded(written)), f"record {length}"
            assert said is None or answers(pruner, earlier) == said, f"the snapshot before record {length}"
        assert fold.is_deleted(0)

    @pytest.mark.parametrize("state", [TrialState.PAUSED, TrialState.COMPLETE, TrialState.PRUNED], ids=lambda s: s.name)
    def test_deletions_in_a_search(self, pruner: BasePruner, state: TrialState) -> None:
        """The search goes on and ends when trials are deleted meanwhile that the rule counts on."""

        def delete(study: Any, trial: Any) -> None:
            for other in study.get_trials(states=(state,))[trial.number % 2 : 1 + trial.number % 2]:
                study.delete_trial(other.number)

        study = search(new_study(pruner), Task(pruner, self.epochs).generator, 2 * self.trials, callbacks=[delete])
        assert study.history.n_trials >= len(study.trials)

    def test_leaves_the_history_alone(self, pruner: BasePruner) -> None:
        """What it was handed is as before; and nothing else has an influence."""
        study = interleaved(pruner, self.trials, self.epochs)
        log = records(study)
        history = folded(log[: 2 * len(log) // 3])
        before = snapshot(history)
        said = answers(pruner, history)
        assert snapshot(history) == before
        assert answers(copy.copy(pruner), history) == said
        assert answers(pickle.loads(pickle.dumps(pruner)), history) == said

    def test_no_clock_and_no_other_generator(self, pruner: BasePruner) -> None:
        """The study goes the same way on a machine with another clock, and with other global generators."""
        study = interleaved(pruner, self.trials, self.epochs)
        said = {repr(answers(pruner, retimed(study, step))) for step in (0, 10**9, -(10**6))}
        assert len(said) == 1
        found: list[Any] = []
        with _global_generators():
            for seed in (1, 2):
                random.seed(seed)
                np.random.seed(seed)
                before = _generator_states()
                found.append(facts(search(new_study(pruner), Task(pruner, self.epochs).generator, self.trials)))
                assert _generator_states() == before, "a global generator of random numbers was used or seeded"
        assert found[0] == found[1]

    @pytest.mark.parametrize("scale", [-1.0, 4.0], ids=["mirrored", "scaled"])
    def test_symmetries(self, pruner: BasePruner, scale: float) -> None:
        """Maximising -f goes the way of minimising f; and so does 4 f + 8, if the rule says that it is invariant."""
        if getattr(pruner, "absolute", False) or (scale > 0 and not getattr(pruner, "invariant", False)):
            return
        direction = "maximize" if scale < 0 else "minimize"
        shift = 0.0 if scale < 0 else 8.0
        one = search(new_study(pruner), Task(pruner, self.epochs), self.trials, lanes=3)
        other = search(
            new_study(pruner, direction=direction),
            Task(pruner, self.epochs, scale=scale, shift=shift), self.trials, lanes=3,
        )  # fmt: skip
        assert [(t.params, t.state, len(t.intermediate_values)) for t in one.trials] == [
            (t.params, t.state, len(t.intermediate_values)) for t in other.trials
        ]


def _edit(fold: Fold, length: int) -> list[dict[str, Any]]:
    """Another trial each time: one is deleted, another one, if it is complete, is edited."""
    numbers = [n for n in range(fold.n_trials) if not fold.is_deleted(n)]
    if not numbers:
        return []
    deleted, edited = numbers[length % len(numbers) if 0 not in numbers else 0], numbers[-1 - length % len(numbers)]
    state, values = (3, {}) if length % 2 else (1, {"y": [length / 100]})
    return [
        {"e": "edit", "ver": 2, "n": edited, "t": 1, "st": state, **values},
        {"e": "delete", "ver": 2, "n": deleted, "t": 1},
    ]
