"""Spaces: the codec to the unit cube, conditions, and their written form."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any, ClassVar

import numpy as np
import pytest
from core.helpers import distributions
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tunesmith.distributions import BaseDistribution, Categorical, Float, Int, distribution_to_json
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, TunesmithError
from tunesmith.space import EXACT, Space

unit = st.floats(0.0, 1.0)
spaces = st.lists(distributions(), min_size=1, max_size=5).map(lambda ds: Space({f"p{i}": d for i, d in enumerate(ds)}))


def params_at(space: Space, u: Any) -> dict[str, Any]:
    return space.to_params(space.decode(np.array([u], float))[0])


class TestDecode:
    @given(spaces, st.data())
    def test_every_point_of_the_cube_is_a_configuration(self, space: Space, data: st.DataObject) -> None:
        """Also the corners, the smallest positive number and the largest below 1."""
        some = unit | st.sampled_from([0.0, 1.0, 5e-324, 2.0**-53, 1 - 2.0**-53])
        u = data.draw(hnp.arrays(float, (3, len(space)), elements=some))
        for row in space.decode(u):
            params = space.to_params(row)
            assert list(params) == list(space)
            for name, value in params.items():
                assert space[name].contains(value), (space[name], value)
        assert np.array_equal(space.decode(u)[1], space.decode(u[1:2])[0])  # rows do not depend on each other

    @given(distributions())
    def test_ends(self, dist: BaseDistribution) -> None:
        """0 and 1 are the ends of the range."""
        space = Space({"x": dist})
        low, high = params_at(space, [0.0])["x"], params_at(space, [1.0])["x"]
        if isinstance(dist, Categorical):
            assert dist.to_internal_repr(high) == dist.to_internal_repr(dist.choices[-1])
            return
        assert isinstance(dist, (Float, Int))
        width = min(dist.high - dist.low, 1e308)
        assert low == pytest.approx(dist.low, rel=1e-12, abs=1e-15 * width)
        assert high == pytest.approx(dist.high, rel=1e-12, abs=1e-15 * width)
        assert type(low) is (float if dist.kind == "float" else int)

    def test_equal_shares(self) -> None:
        """Integers, steps and choices own bins of equal width."""
        space = Space(
            {
                "i": Int(1, 4),
                "s": Float(0, 0.3, step=0.1),
                "c": Categorical(["a", "b", "c", "d"]),
                "j": Int(0, 6, step=2),
            }
        )
        u = (np.arange(4000) + 0.5) / 4000
        raw = space.decode(np.repeat(u[:, None], 4, axis=1))
        for j in range(4):
            assert np.unique(raw[:, j], return_counts=True)[1].tolist() == [1000] * 4

    def test_log_scales(self) -> None:
        space = Space({"x": Float(1e-6, 1e2, log=True), "n": Int(1, 1000, log=True)})
        assert params_at(space, [0.5, 0.5])["x"] == pytest.approx(1e-2)
        assert params_at(space, [0.5, 0.5])["n"] == round(math.sqrt(0.5 * 1000.5))

    def test_huge_and_tiny_ranges(self) -> None:
        wide = Float(-1.7e308, 1.7e308)
        assert params_at(Space({"x": wide}), [0.5])["x"] == 0.0
        assert params_at(Space({"x": wide}), [1.0])["x"] == 1.7e308
        tiny = Float(1e-300, 1.0000001e-300, log=True)
        assert tiny.contains(params_at(Space({"x": tiny}), [0.3])["x"])
        for dist in (
            Int(-(2**80), 2**80),
            Int(0, 10**30, step=7 * 10**27),
            Int(1, 2**70, log=True),
            Int(2**60, 2**60 + 3),
        ):
            for u in np.linspace(0, 1, 23):
                assert dist.contains(params_at(Space({"x": dist}), [u])["x"])

    def test_steps_too_many_to_count(self) -> None:
        """More values than float64 can number: still on the grid, also near the lower end."""
        dist = Float(0, 1e16, step=0.1)
        for u in (0.0, 1e-17, 1.237e-16, 3.33e-16, 1e-9, 0.3, 1.0):
            assert dist.contains(params_at(Space({"x": dist}), [u])["x"]), u

    def test_nan_stays_inactive(self) -> None:
        space = Space({"x": Float(0, 1), "n": Int(0, 5), "c": Categorical([1, 2]), "l": Float(1, 2, log=True)})
        raw = space.decode(np.full((1, 4), np.nan))
        assert np.isnan(raw).all()
        assert space.to_params(raw[0]) == {}
        assert np.isnan(space.encode(raw)).all()
        assert Space({"x": Float(0, 1), "y": Float(0, 1)}).to_params(np.array([np.nan, 0.5])) == {"y": 0.5}

    def test_shapes(self) -> None:
        space = Space({"x": Float(0, 1), "n": Int(0, 5)})
        assert space.decode(np.zeros((0, 2))).shape == (0, 2)
        assert Space().decode(np.zeros((3, 0))).shape == (3, 0)
        assert Space().to_params(np.zeros(0)) == {}
        with pytest.raises(InvalidValueError, match="3 numbers"):
            space.to_params(np.zeros(3))


class TestRoundTrip:
    @given(spaces, st.data())
    def test_values_survive_the_cube(self, space: Space, data: st.DataObject) -> None:
        """decode(encode(x)) is x: exactly for counted values, to rounding of the range's ends for a continuum."""
        params = params_at(space, [data.draw(unit) for _ in space])
        again = space.to_params(space.decode(space.encode(space.from_params(params)[None]))[0])
        for name, dist in space.items():
            if isinstance(dist, Categorical):
                assert dist.to_internal_repr(again[name]) == dist.to_internal_repr(params[name])
                continue
            assert isinstance(dist, (Float, Int))
            size = max(abs(dist.low), abs(dist.high))
            if dist.log:
                assert again[name] == pytest.approx(params[name], rel=1e-11)
            elif size <= EXACT and space.columns.levels[space.names.index(name)]:
                assert again[name] == params[name]
            else:
                assert abs(again[name] - params[name]) <= 4e-15 * size + 2 * (dist.step or 0) * (size > EXACT)

    @given(st.integers(1, 10**9), st.integers(0, 10**9), st.data())
    def test_log_integers_survive_exactly(self, low: int, width: int, data: st.DataObject) -> None:
        dist = Int(low, low + width, log=True)
        value = data.draw(st.integers(low, low + width))
        space = Space({"n": dist})
        assert space.to_params(space.decode(space.encode(np.array([[float(value)]])))[0]) == {"n": value}

    @given(distributions(), unit)
    def test_the_cubes_points_are_stable(self, dist: BaseDistribution, u: float) -> None:
        """encode(decode(u)) is in the cube, and decodes to the same value again."""
        space = Space({"x": dist})
        once = space.decode(np.array([[u]]))
        back = space.encode(once)
        assert 0.0 <= back[0, 0] <= 1.0

    def test_outside_is_clipped(self) -> None:
        space = Space({"x": Float(0, 1), "n": Int(1, 4), "l": Float(1, 10, log=True)})
        assert space.encode(np.array([[-5.0, 99.0, 0.0]])).tolist() == [[0.0, 1.0, 0.0]]

    def test_single_values_are_in_the_middle(self) -> None:
        space = Space({"x": Float(2, 2), "n": Int(3, 3), "l": Float(5, 5, log=True), "c": Categorical(["a"])})
        assert space.encode(space.from_params({"x": 2, "n": 3, "l": 5, "c": "a"})[None]).tolist() == [[0.5] * 4]
        assert params_at(space, [0.1, 0.9, 0.0, 1.0]) == {"x": 2.0, "n": 3, "l": 5.0, "c": "a"}


class TestAgainstOptuna:
    """Optuna's own transformation to the unit cube, where its conventions are ours (all but choices)."""

    @given(st.sampled_from(["float", "log", "step", "int", "logint"]), st.integers(1, 50), st.integers(1, 200), unit)
    def test_numbers(self, kind: str, low: int, width: int, u: float) -> None:
        transform = pytest.importorskip("optuna._transform")._SearchSpaceTransform
        oracle = pytest.importorskip("optuna").distributions
        dist: Any = {
            "float": lambda: Float(low, low + width),
            "log": lambda: Float(low / 10, low + width, log=True),
            "step": lambda: Float(low, low + width, step=0.25),
            "int": lambda: Int(low, low + 3 * width, step=3),
            "logint": lambda: Int(low, low + width, log=True),
        }[kind]()
        theirs = transform({"x": oracle.json_to_distribution(distribution_to_json(dist))}, transform_0_1=True)
        space = Space({"x": dist})
        raw = theirs._raw_bounds[0]
        edge = (raw[0] + u * (raw[1] - raw[0])) - math.floor(raw[0] + u * (raw[1] - raw[0]))
        assume(kind in ("float", "log") or min(abs(edge - 0.5), edge, 1 - edge) > 1e-9)  # not where bins meet
        expected = theirs.untransform(np.array([u]))["x"]
        if kind == "step":
            k = (u * (4 * width + 1)) % 1
            assume(1e-9 < k < 1 - 1e-9)
        assert params_at(space, [u])["x"] == pytest.approx(expected, rel=1e-12)
        value = params_at(space, [u])["x"]
        assert space.encode(np.array([[float(value)]]))[0, 0] == pytest.approx(
            float(theirs.transform({"x": value})[0]), abs=1e-12
        )


class TestConditions:
    base = Space(
        {
            "lr": Float(1e-4, 1e-1, log=True),
            "n_layers": Int(1, 4),
            "opt": Categorical(["sgd", "adam"]),
            "momentum": Float(0, 1),
            "nesterov": Categorical([True, False]),
            "n_3": Int(8, 64),
        },
        conditions={
            "momentum": "opt == 'sgd'",
            "nesterov": "momentum > 0.5 and opt in ('sgd', 'nag')",
            "n_3": "3 <= n_layers <= 4",
        },
    )
    full: ClassVar[dict[str, Any]] = {
        "lr": 0.01,
        "n_layers": 3,
        "opt": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "n_3": 8,
    }

    def test_active(self) -> None:
        assert self.base.active(self.full) == self.full
        assert list(self.base.active({**self.full, "opt": "adam"})) == ["lr", "n_layers", "opt", "n_3"]
        assert list(self.base.active({**self.full, "n_layers": 2, "momentum": 0.1})) == [
            "lr",
            "n_layers",
            "opt",
            "momentum",
        ]
        assert self.base.active({"momentum": 0.9, "nesterov": True}) == {}  # what it depends on is missing

    def test_order_of_declaration_does_not_matter(self) -> None:
        space = Space({"c": Float(0, 1), "b": Int(0, 3), "a": Int(0, 3)}, conditions={"c": "b >= 2", "b": "a >= 1"})
        assert list(space) == ["c", "b", "a"]
        assert space.ordered == ("a", "b", "c")
        assert space.active({"a": 1, "b": 2, "c": 0.5}) == {"c": 0.5, "b": 2, "a": 1}
        assert space.active({"a": 0, "b": 2, "c": 0.5}) == {"a": 0}  # c reads b, which is not active

    @pytest.mark.parametrize(
        ("text", "params", "holds"),
        [
            ("n == 1", {"n": 1}, True),
            ("n != 1", {"n": 1}, False),
            ("n < 2 < m", {"n": 1, "m": 3}, True),
            ("not n == 1", {"n": 2}, True),
            ("n == -1", {"n": -1}, True),
            ("n in [1, 2]", {"n": 2}, True),
            ("n not in (1, 2)", {"n": 2}, False),
            ("n == 1 or m == 1", {"n": 0, "m": 1}, True),
            ("n", {"n": True}, True),
            ("n == None", {"n": None}, True),
            ("n == (1, 2)", {"n": (1, 2)}, True),
            ("'a' in n", {"n": "abc"}, True),
            ("n == True", {"n": 1}, True),
            (" n>=1 ", {"n": 1}, True),
            ("n == 'x' and m > 0.5", {"n": "x", "m": 1}, True),
        ],
    )
    def test_expressions(self, text: str, params: dict[str, Any], holds: bool) -> None:
        space = Space({**{k: Categorical([v]) for k, v in params.items()}, "x": Float(0, 1)}, conditions={"x": text})
        assert ("x" in space.active({**params, "x": 0.5})) is holds

    @pytest.mark.parametrize(
        "text",
        [
            "__import__('os').system('true')",
            "n.__class__",
            "n()",
            "[m for m in n]",
            "n[0]",
            "lambda: n",
            "n + 1",
            "n * 2",
            "f'{n}'",
            "(n := 3)",
            "n if n else n",
            "n is None",
            "n is not None",
            "{n}",
            "{'a': n}",
            "n ** 9 ** 9",
            "~n",
            "+n",
            "await n",
            "*n",
            "n; n",
            "n = 1",
            "",
            " ",
            "n ==",
            "print(n)",
            "x.y > 1",
            "...",
            "1 == 1",
            "'a'",
            "n\nimport os",
            "-" * 1900 + "n",
            "not " * 400 + "n",
            "(" * 3000 + "n",
            "n == " + "1" * 3000,
            "((n)).__init__",
            "n\0",
        ],
    )
    def test_only_comparisons_are_understood(self, text: str) -> None:
        with pytest.raises(InvalidValueError) as caught:
            Space({"n": Int(0, 1), "x": Float(0, 1)}, conditions={"x": text})
        assert len(str(caught.value)) < 5000

    @pytest.mark.parametrize(
        ("conditions", "shown"),
        [
            ({"x": "m > 1"}, "'m'"),
            ({"z": "n > 1"}, "'z'"),
            ({"x": "x > 0.5"}, "circle"),
            ({"x": "n > 1", "n": "x > 0"}, "circle"),
            ({"x": "n > 1 and __name__ == 1"}, "__name__"),
        ],
    )
    def test_impossible(self, conditions: dict[str, str], shown: str) -> None:
        with pytest.raises(InvalidValueError, match=shown):
            Space({"n": Int(0, 1), "x": Float(0, 1)}, conditions=conditions)

    @pytest.mark.parametrize("conditions", ["n > 1", 5, ["n > 1"]])
    def test_wrong_types(self, conditions: Any) -> None:
        with pytest.raises(InvalidTypeError):
            Space({"n": Int(0, 1), "x": Float(0, 1)}, conditions=conditions)
        with pytest.raises(InvalidTypeError, match="5"):
            Space({"n": Int(0, 1), "x": Float(0, 1)}, conditions={"x": 5})  # type: ignore[dict-item]

    def test_a_comparison_that_makes_no_sense_shows_the_values(self) -> None:
        space = Space({"n": Categorical(["a", 1]), "x": Float(0, 1)}, conditions={"x": "n > 3"})
        with pytest.raises(InvalidValueError, match="'n': 'a'"):
            space.active({"n": "a", "x": 0.5})


class TestSpace:
    def test_is_a_mapping(self) -> None:
        space = Space({"b": Float(0, 1), "a": {"type": "int", "low": 1, "high": 3}, "c": {"choices": ["x", "y"]}})
        assert list(space) == ["b", "a", "c"]
        assert dict(space) == {"b": Float(0, 1), "a": Int(1, 3), "c": Categorical(["x", "y"])}
        assert "a" in space
        assert len(space) == 3
        assert len(Space()) == 0
        with pytest.raises(KeyError):
            space["z"]

    @given(spaces)
    def test_written_and_read(self, space: Space) -> None:
        again = Space.from_dict(json.loads(json.dumps(space.to_dict(), allow_nan=False)))
        assert again == space
        assert hash(again) == hash(space)
        assert again.id == space.id
        assert dict(again) == dict(space)

    def test_conditions_are_part_of_it(self) -> None:
        space = TestConditions.base
        again = Space.from_dict(json.loads(json.dumps(space.to_dict())))
        assert again == space
        assert again.conditions == space.conditions
        assert Space(dict(space)) != space
        assert Space.from_dict({"x": {"type": "float", "low": 0, "high": 1}}) == Space({"x": Float(0, 1)})

    def test_order_and_type_make_another_space(self) -> None:
        x, y = Float(0, 1), Int(0, 1)
        ids = {s.id for s in (Space({"x": x, "y": y}), Space({"y": y, "x": x}), Space({"x": x}), Space({"x": y}))}
        ids |= {Space({"x": Categorical([v])}).id for v in (1, 1.0, True, "1", None, math.nan, (1,))}
        assert len(ids) == 11

    def test_the_id_is_the_same_in_every_process(self) -> None:
        code = "from tunesmith import *; print(Space({'x': Float(0, 1), 'c': Categorical(['a', 'b', None])}).id)"
        found = {
            subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=True,
                env={"PYTHONHASHSEED": seed, "PATH": ""},
            ).stdout
            for seed in ("1", "2")
        }
        assert len(found) == 1

    def test_extended(self) -> None:
        space = Space({"x": Float(0, 1), "y": Float(0, 1)}, conditions={"y": "x > 0.5"})
        longer = space.extended("z", Int(0, 1))
        assert list(longer) == ["x", "y", "z"]
        assert longer.conditions == space.conditions
        assert list(longer.extended("x", Float(0, 2))) == ["x", "y", "z"]
        assert list(space) == ["x", "y"]

    @pytest.mark.parametrize(
        "wrong",
        [
            5,
            "abc",
            ["x"],
            {"": Float(0, 1)},
            {1: Float(0, 1)},
            {"x": 5},
            {"x": "float"},
            {"x": {"type": "gauss"}},
            {"x": {"type": "float", "low": 0}},
            {"x": {"type": "float", "low": 0, "high": 1, "mu": 1}},
            {"x": None},
        ],
    )
    def test_wrong_arguments(self, wrong: Any) -> None:
        with pytest.raises(TunesmithError) as caught:
            Space(wrong)
        assert isinstance(caught.value, (TypeError, ValueError))

    def test_unknown_keys(self) -> None:
        with pytest.raises(InvalidValueError, match=r"\['condition'\]"):
            Space.from_dict({"parameters": {}, "condition": {}})
        with pytest.raises(InvalidTypeError):
            Space.from_dict([1])  # type: ignore[arg-type]

    def test_events(self) -> None:
        """The row in a log: integers exact, a choice as its index."""
        space = Space({"n": Int(0, 2**70), "x": Float(0, 1), "c": Categorical([True, 1, 1.0, None])})
        for c in (True, 1, 1.0, None):
            row = space.to_event({"n": 2**70 - 1, "x": 0.1, "c": c})
            assert json.loads(json.dumps(row)) == row
            n, x, back = space.from_event(row)
            assert (n, x) == (2**70 - 1, 0.1)
            assert back is c or (back == c and type(back) is type(c))
