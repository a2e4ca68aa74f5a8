"""The part of the conformance kit for samplers that tests what "a pure function of the history" means."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pickle
import random
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from tunesmith.numerics.streams import stream
from tunesmith.samplers import BaseSampler
from tunesmith.testing._elsewhere import elsewhere, here
from tunesmith.testing._searches import (
    CONTINUOUS,
    SPACES,
    branching,
    busy,
    configurations,
    drop_caches,
    edits,
    facts,
    new_study,
    on,
    rebuilt,
    retimed,
    run,
    snapshot,
)
from tunesmith.testing.studies import check_reload, refolded


class Purity:
    """Nothing but the history, the seed and the arguments has an influence, and nothing else is touched."""

    trials: ClassVar[int] = 14

    def test_deterministic(self, sampler: BaseSampler) -> None:
        """The same seed gives the same trials; another seed others (unless the method says that it has none)."""
        space = SPACES["floats"]
        one, same, other = (facts(run(new_study(sampler, space, seed), on(space), self.trials)) for seed in (5, 5, 6))
        assert one == same
        assert (one == other) == sampler.deterministic

    def test_pure(self, sampler: BaseSampler) -> None:
        """Asked twice about one history it says the same, and leaves the history as it was."""
        for space in (CONTINUOUS, SPACES["conditional"]):
            history = busy(sampler, space, self.trials).history
            before = snapshot(history)
            one = sampler.propose(space, history, stream(1, 2), 3)
            assert sampler.propose(space, history, stream(1, 2), 3) == one
            assert snapshot(history) == before

    def test_caches_may_be_dropped(self, sampler: BaseSampler) -> None:
        """A copy, a pickled copy, a rebuilt instance and one without caches propose what the original does."""
        history = busy(sampler, CONTINUOUS, self.trials).history

        def propose(instance: BaseSampler) -> Any:
            return instance.propose(CONTINUOUS, history, stream(1, 2), 3)

        expected = propose(sampler)
        assert propose(copy.copy(sampler)) == expected
        assert propose(pickle.loads(pickle.dumps(sampler))) == expected
        assert propose(rebuilt(sampler)) == expected
        drop_caches(sampler)
        assert propose(sampler) == expected
        drop_caches(sampler)
        assert propose(rebuilt(sampler)) == expected

    def test_edits(self, sampler: BaseSampler) -> None:
        """After trials were edited and deleted it proposes what it does where the log is read anew; an earlier snapshot
        stays as it was; and the search goes on."""
        for space in (CONTINUOUS, SPACES["conditional"]):
            study = busy(sampler, space, self.trials)
            before = study.history
            expected, shown = sampler.propose(space, before, stream(1, 2), 3), snapshot(before)
            for edit in edits(study):
                edit()
                found = sampler.propose(space, study.history, stream(1, 2), 3)
                assert found == sampler.propose(space, refolded(study).history(), stream(1, 2), 3)
            check_reload(study)
            assert sampler.propose(space, before, stream(1, 2), 3) == expected, "to the snapshot before the edits"
            assert snapshot(before) == shown
            run(study, on(space), study.history.n + 4)
            check_reload(study)

    def test_another_process(self, sampler: BaseSampler) -> None:
        """Another process proposes and resumes the same, although sets have another order there (PYTHONHASHSEED)."""
        expected, half = here(sampler, self.trials)
        found = elsewhere(sampler, self.trials, half)
        for name, trials in expected.items():
            for one, other in zip(trials, found[name], strict=False):
                assert one == other, f"{name}: {one} here is {other} in another process"
        assert found == expected

    def test_reads_no_clock(self, sampler: BaseSampler) -> None:
        """A faster machine, a slower one and one whose clock goes backwards make the same search."""
        for space in (CONTINUOUS, SPACES["conditional"]):
            study = busy(sampler, space, self.trials)
            expected = sampler.propose(space, study.history, stream(1, 2), 3)
            for step in (0, 10**9, -(10**6)):
                history = retimed(study, step)
                found = sampler.propose(space, history, stream(1, 2), 3)
                assert found == expected, f"with other times {found} is proposed instead of {expected}"

    def test_leaves_other_generators_alone(self, sampler: BaseSampler) -> None:
        """The global generators of ``random`` and NumPy, which objectives use, are as before, and have no influence."""
        found = []
        with _global_generators():
            for seed in (1, 2):
                random.seed(seed)
                np.random.seed(seed)
                before = _generator_states()
                found.append(facts(run(new_study(sampler), branching, self.trials)))
                study = busy(sampler, CONTINUOUS, self.trials)
                sampler.propose(CONTINUOUS, study.history, stream(1, 2), 3)
                assert _generator_states() == before, "a global generator of random numbers was used or seeded"
        assert found[0] == found[1], "a global generator of random numbers has an influence"

    def test_is_a_value(self, sampler: BaseSampler) -> None:
        """A frozen dataclass, whose arguments come back from a log."""
        assert dataclasses.is_dataclass(sampler)
        with pytest.raises(dataclasses.FrozenInstanceError):
            sampler.seed = 3  # type: ignore[attr-defined]
        assert rebuilt(sampler) == sampler
        assert rebuilt(sampler).spec() == sampler.spec()

    def test_every_argument_is_kept(self, sampler: BaseSampler) -> None:
        """So do other values of the arguments, one by one, as far as the class takes them (with and without a seed)."""
        for changed, name in _variants(sampler):
            if changed.spec()["args"] is None:
                continue
            again = rebuilt(changed)
            value = getattr(again, name)
            expected = getattr(changed, name)
            assert (type(value), value) == (type(expected), expected), f"{name}={expected!r} came back as {value!r}"
            assert again == changed

    def test_maximise_is_minimise_mirrored(self, sampler: BaseSampler) -> None:
        """Maximising -f goes the way of minimising f."""
        space = SPACES["conditional"]
        down = run(new_study(sampler, space), on(space), 2 * self.trials)
        up = run(
            new_study(sampler, space, direction="maximize"),
            lambda trial: -on(space)(trial),
            2 * self.trials,
        )
        assert configurations(up) == configurations(down)


def _variants(sampler: BaseSampler) -> Iterator[tuple[BaseSampler, str]]:
    """The sampler with another value of one argument, for every argument that is a single value."""
    assert dataclasses.is_dataclass(sampler)
    for field in dataclasses.fields(sampler):
        if not field.init:
            continue
        for value in _other_values(getattr(sampler, field.name)):
            with contextlib.suppress(Exception):  # the class does not take it
                yield dataclasses.replace(sampler, **{field.name: value}), field.name


def _other_values(value: Any) -> tuple[Any, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return value + 1, value + 2, None
    if isinstance(value, float):
        return value * 0.75, value / 2 + 0.5, None
    if isinstance(value, str):
        return value + "x", None
    return (3, 0.25, True, "x") if value is None else ()


@contextlib.contextmanager
def _global_generators() -> Iterator[None]:
    """Puts their states back."""
    kept, numpys = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(kept)
        np.random.set_state(numpys)


def _generator_states() -> list[str]:
    with np.printoptions(threshold=10_000):
        return [repr(random.getstate()), repr(np.random.get_state())]
