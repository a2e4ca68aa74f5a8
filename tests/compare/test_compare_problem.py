"""Problems of a comparison: fingerprints of functions, titles, descriptions."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest

from tunesmith import Categorical, Float, Space
from tunesmith.compare import FunctionProblem
from tunesmith.compare.fingerprint import fingerprint
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
    assert fingerprint(functools.wraps(one)(lambda trial: one(trial))) == fingerprint(one)
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


@pytest.mark.parametrize(
    "kind",
    [Callable, lambda v: Callable(v).other, around, with_default],
    ids=["object", "method", "closure", "default"],
)
def test_values_that_an_objective_holds_are_part_of_it(kind):
    values = [0.2, 0.9, "adam", None, True, (1, 2)]
    assert len({fingerprint(kind(value)) for value in values}) == len(values)
    assert [fingerprint(kind(v)) for v in values] == [fingerprint(kind(v)) for v in values]


def test_state_is_not_part_of_an_objective():
    """Lists, objects, and what a leading underscore marks as private."""
    busy = Callable(1)
    before = fingerprint(busy)
    busy.calls, busy.model, busy._count = [1, 2], object(), 3
    assert fingerprint(busy) == before
    assert fingerprint(around(1, _private=2)) == fingerprint(around(1))


def test_a_lambda_is_not_told_by_what_stands_beside_it():
    a, b = lambda trial: 1.0, lambda trial: 2.0
    c = lambda trial: 1.0  # noqa: E731
    assert fingerprint(a) == fingerprint(c) != fingerprint(b)


def test_fingerprints_are_the_same_in_every_process():
    text = "f = lambda t: [t.x in {'a', 'b', 'c', 'd'}, (lambda y: y in {'e', 'f', 'g'}), (1, 2.0, None)]"
    code = f"from tunesmith.compare.fingerprint import fingerprint as p\nn = {{}}\nexec({text!r}, n)\nprint(p(n['f']))"
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
