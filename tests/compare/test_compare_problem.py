"""Problems of a comparison: fingerprints of functions, titles, descriptions."""

from __future__ import annotations

import enum
import functools
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from tunesmith import Categorical, Float, Space, create_study
from tunesmith._fingerprint import fingerprint
from tunesmith.compare import FunctionProblem
from tunesmith.compare.problem import description_of, title_of

SPACE = Space({"x": Float(0, 1)})


def made(text, name="f"):
    """A function without a source."""
    names = {}
    exec(text, names)
    return names[name]


class Callable:
    def __init__(self, state):
        self.state = state

    def __call__(self, trial):
        return self.state

    def other(self, trial):
        return 1 + self.state


def one(trial):
    return 1.0


def two(trial):
    return 2.0


def test_fingerprints_follow_the_source():
    assert fingerprint(None) is None
    assert fingerprint(one) == fingerprint(one) != fingerprint(two)
    assert fingerprint(Callable(1)) == fingerprint(Callable(1)) != fingerprint(Callable(1).other)
    assert fingerprint(functools.partial(one, trial=3)) != fingerprint(functools.partial(one, trial=4))
    assert fingerprint(functools.partial(one, trial=object())) == fingerprint(functools.partial(one, trial=object()))
    assert fingerprint(functools.lru_cache(one)) != fingerprint(functools.lru_cache(two))
    assert len(fingerprint(abs)) == 16
    assert fingerprint(abs) != fingerprint(max)


@pytest.mark.parametrize(
    "other",
    ["def f(t): return t.a + 2", "def f(t): return t.b + 1", "def f(t): return t.a - 1", "f = lambda t: t.a + 2"],
)
def test_without_a_source_the_code_tells(other):
    assert fingerprint(made("def f(t): return t.a + 1")) == fingerprint(made("def f(t):\n  return t.a + 1"))
    assert fingerprint(made("def f(t): return t.a + 1")) != fingerprint(made(other))


def around(value, _private=0):
    return lambda trial: (value, _private)


def with_default(value):
    def objective(trial, *, shift=value):
        return shift

    return objective


def scaled(func, by):
    @functools.wraps(func)
    def wrapper(trial):
        return by * func(trial)

    return wrapper


@dataclass(slots=True)
class Slotted:
    by: object

    def __call__(self, trial):
        return self.by


class Colour(enum.Enum):
    RED, BLUE = 1, 2


KINDS = {
    "object": Callable,
    "slots": Slotted,
    "method": lambda v: Callable(v).other,
    "closure": around,
    "default": with_default,
    "partial": lambda v: functools.partial(one, by=v),
    "decorated": lambda v: scaled(one, v),
    "decorated partial": lambda v: scaled(functools.partial(one, by=v), 1),
}
VALUES = [
    0.2, 0.9, "adam", None, True, 3, (1, 2), [1, 2, 3], {"a": 1}, {"a": 2}, frozenset("ab"), {1, 2}, b"x", 1j, one, two,
    Colour.RED, Colour.BLUE, pathlib.PurePosixPath("a/b"), functools.partial(one, 1), functools.partial(one, 2),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_values_that_an_objective_holds_are_part_of_it(kind):
    assert len({fingerprint(kind(value)) for value in VALUES}) == len(VALUES)
    assert [fingerprint(kind(v)) for v in VALUES] == [fingerprint(kind(v)) for v in VALUES]


def test_numbers_of_numpy_are_numbers():
    """Whose text differs between versions of NumPy."""
    plain = [fingerprint(Callable(v)) for v in (1, 0.5, True, (1, 0.5))]
    assert [
        fingerprint(Callable(v)) for v in (np.int64(1), np.float64(0.5), np.True_, (np.int8(1), np.float32(0.5)))
    ] == plain


class Busy:
    """Counts, remembers and fills what it has."""

    def __init__(self):
        self.calls, self.best, self.seen, self.table, self.rate = 0, None, [], {}, 0.1

    def __call__(self, trial):
        self.calls += 1
        self.best = trial
        self.seen.append(trial)
        self.table[trial] = 1
        return self.rate


def counting():
    count, seen = 0, []

    def objective(trial):
        nonlocal count
        count += 1
        seen.append(count)
        return trial

    return objective


@pytest.mark.parametrize("kind", [Busy, counting])
def test_what_changes_while_it_runs_is_no_part_of_an_objective(kind):
    busy = kind()
    before = fingerprint(busy)
    for trial in range(3):
        busy(trial)
    assert fingerprint(busy) == before == fingerprint(kind())
    if kind is Busy:
        busy.rate = 0.2
        assert fingerprint(busy) != before


def test_neither_are_objects_and_private_names():
    busy = Callable(1)
    before = fingerprint(busy)
    busy.model, busy._count = object(), 3
    assert fingerprint(busy) == before
    assert fingerprint(around(1, _private=2)) == fingerprint(around(1))


def test_objects_that_cannot_be_looked_at():
    class Odd:
        def __getattr__(self, name):
            raise RuntimeError("no")

        def __call__(self, trial):
            return 1.0

    mixed = Callable(1)
    mixed.__dict__[3] = 1
    endless = functools.partial(one)
    endless.keywords["again"] = endless
    assert len({fingerprint(f) for f in (Odd(), mixed, endless)}) == 3


def test_a_bound_seed_stays_bound():
    def objective(trial, seed=0, repeat=0):
        return float(seed)

    bound = FunctionProblem(functools.partial(objective, seed=42), SPACE)
    assert bound.to_dict()["wants"] == ["repeat"]
    assert bound(create_study().ask()) == 42.0
    assert bound.name.endswith("objective")


def test_a_lambda_is_not_told_by_what_stands_beside_it():
    a, b = lambda trial: 1.0, lambda trial: 2.0
    c = lambda trial: 1.0  # noqa: E731
    assert fingerprint(a) == fingerprint(c) != fingerprint(b)


def test_fingerprints_are_the_same_in_every_process():
    text = "f = lambda t: [t.x in {'a', 'b', 'c', 'd'}, (lambda y: y in {'e', 'f', 'g'}), (1, 2.0, None)]"
    code = f"from tunesmith._fingerprint import fingerprint as p\nn = {{}}\nexec({text!r}, n)\nprint(p(n['f']))"
    found = {
        subprocess.run([sys.executable, "-c", code], env=_environment(seed), capture_output=True, text=True).stdout
        for seed in "123"
    }
    assert found == {f"{fingerprint(made(text))}\n"}


def _environment(seed):
    import os

    return {**os.environ, "PYTHONHASHSEED": seed}


class Described:
    """As ``tunesmith.train.Problem`` describes itself."""

    def __init__(self, space, repeat=0):
        self.space, self.repeat = space, repeat

    def to_dict(self):
        return {"data": "digits", "model": "cnn", "epochs": 2}

    def describe(self):
        return f"data    digits\ntrain   2 epochs, training seed 0, repeat {self.repeat}, cpu"


@pytest.mark.parametrize(
    ("axes", "title"),
    [
        ({}, "cnn on digits, 2 epochs"),
        ({"data": Categorical(["digits", "mnist"])}, "cnn on several data sets, 2 epochs"),
        ({"model": Categorical(["cnn", "mlp"])}, "several models on digits, 2 epochs"),
        ({"model": Categorical(["mlp"])}, "mlp on digits, 2 epochs"),
        (
            {"model": Categorical(["cnn", "mlp"]), "data": Categorical(["digits", "mnist"])},
            "several models on several data sets, 2 epochs",
        ),
    ],
)
def test_titles_name_what_is_searched_over_as_such(axes, title):
    assert title_of(Described(Space({**SPACE, **axes}))) == title


def test_a_description_is_of_all_repeats():
    assert description_of(Described(SPACE)) == "data    digits\ntrain   2 epochs, training seed 0, cpu"
    assert description_of(FunctionProblem(one, SPACE, name="a line")) == "a line"
