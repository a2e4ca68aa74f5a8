"""One hyperparameter: what it accepts, what it equals, how it is written; with Optuna's distributions as the oracle."""

from __future__ import annotations

import copy
import enum
import json
import math
import pickle
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from core.helpers import choices, distributions
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.distributions import (
    BaseDistribution,
    Categorical,
    CategoricalDistribution,
    Float,
    FloatDistribution,
    Int,
    IntDistribution,
    OpaqueChoice,
    check_distribution_compatibility,
    choice_from_json,
    choice_key,
    choice_to_json,
    distribution_from_dict,
    distribution_to_dict,
    distribution_to_json,
    json_to_distribution,
)
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, TunesmithError


class TestArguments:
    @pytest.mark.parametrize(
        ("make", "error", "shown"),
        [
            (lambda: Float(1, 0), ValueError, "low=1.0 and high=0.0"),
            (lambda: Float(0, 1, log=True), ValueError, "low=0.0"),
            (lambda: Float(-1, 1, log=True), ValueError, "low=-1.0"),
            (lambda: Float(1, 2, log=True, step=0.1), ValueError, "0.1"),
            (lambda: Float(0, 1, step=0), ValueError, "step=0.0"),
            (lambda: Float(0, 1, step=-0.5), ValueError, "step=-0.5"),
            (lambda: Float(math.nan, 1), ValueError, "nan"),
            (lambda: Float(0, math.nan), ValueError, "nan"),
            (lambda: Float(0, math.inf), ValueError, "inf"),
            (lambda: Float(0, 1, step=math.inf), ValueError, "inf"),
            (lambda: Float(0, 10**400), ValueError, "too large"),
            (lambda: Float("0", 1), TypeError, "'0'"),
            (lambda: Float(None, 1), TypeError, "None"),
            (lambda: Float(0, True), TypeError, "True"),
            (lambda: Float(0, 1j), TypeError, "1j"),
            (lambda: Int(3, 2), ValueError, "low=3 and high=2"),
            (lambda: Int(0, 5, log=True), ValueError, "low=0"),
            (lambda: Int(1, 5, log=True, step=2), ValueError, "2"),
            (lambda: Int(0, 5, step=0), ValueError, "step=0"),
            (lambda: Int(0, 5, step=-1), ValueError, "step=-1"),
            (lambda: Int(0.5, 5), ValueError, "0.5"),
            (lambda: Int(0, math.nan), ValueError, "nan"),
            (lambda: Int(0, 10**400), ValueError, "too large"),
            (lambda: Int(0, "5"), TypeError, "'5'"),
            (lambda: Int(0, 5, step=None), TypeError, "None"),
            (lambda: Categorical([]), ValueError, "empty"),
            (lambda: Categorical("abc"), TypeError, "'abc'"),
            (lambda: Categorical(b"abc"), TypeError, "abc"),
            (lambda: Categorical(5), TypeError, "5"),
            (lambda: Categorical(None), TypeError, "None"),
        ],
    )
    def test_impossible(self, make: Any, error: type[Exception], shown: str) -> None:
        """One typed error that shows the value, and is the built-in error Optuna would raise."""
        with pytest.raises(TunesmithError) as caught:
            make()
        assert isinstance(caught.value, error)
        assert shown in str(caught.value)

    def test_integral_floats_and_numpy_numbers_are_understood(self) -> None:
        assert Int(1.0, np.int64(8), step=np.int8(1)) == Int(1, 8)
        assert type(Int(1.0, 8).low) is int
        assert Float(np.float32(0.5), np.int64(1)) == Float(0.5, 1.0)
        assert Float(Fraction(1, 4), 1) == Float(0.25, 1)

    def test_immutable(self) -> None:
        for dist in (Float(0, 1), Int(0, 1), Categorical([1])):
            with pytest.raises(AttributeError, match="immutable"):
                dist.low = 5  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("dist", "high"),
        [
            (lambda: Float(0, 1, step=0.3), 0.9),
            (lambda: Float(-0.5, 1, step=0.4), 0.7),
            (lambda: Int(0, 10, step=3), 9),
            (lambda: Int(0, 10**40, step=7), 10**40 // 7 * 7),
            (lambda: Int(-5, 5, step=20), -5),
        ],
    )
    def test_the_upper_end_is_moved_to_the_grid_with_a_warning(self, dist: Any, high: float) -> None:
        with pytest.warns(UserWarning, match=f"becomes {high}"):
            made = dist()
        assert made.high == high
        assert made.contains(made.high)

    @pytest.mark.usefixtures("no_warnings")
    def test_decimal_steps_divide_exactly(self) -> None:
        """0.1 is no binary fraction, yet [0, 0.3] is three steps of it; huge ranges and integers too."""
        for low, high, step in ((0, 0.3, 0.1), (0.1, 0.7, 0.2), (-1, 1, 0.05), (0, 1e300, 1.0), (0, 1e-3, 1e-10)):
            assert Float(low, high, step=step).high == high
        assert Int(0, 2**100, step=2**50).high == 2**100

    @given(st.integers(-50, 50), st.integers(0, 60), st.sampled_from([0.1, 0.2, 0.25, 0.3, 1.0, 7.0]))
    def test_steps_as_in_optuna(self, low: int, width: int, step: float) -> None:
        oracle = pytest.importorskip("optuna").distributions
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert (
                Float(low, low + width / 4, step=step).high
                == oracle.FloatDistribution(low, low + width / 4, step=step).high
            )
            if step >= 1:
                assert (
                    Int(low, low + width, step=step).high
                    == oracle.IntDistribution(low, low + width, step=int(step)).high
                )


class TestContents:
    @pytest.mark.parametrize(
        ("dist", "inside", "outside"),
        [
            (
                Float(0, 1),
                [0, 1, 0.5, np.float32(0.5), Fraction(1, 3)],
                [-1e-9, 1.1, math.nan, math.inf, 10**400, "0", None, True],
            ),
            (Float(0, 1, step=0.1), [0, 0.1, 0.3, 0.7, 1], [0.05, 0.31, 1.1]),
            (Float(1e-300, 1e300, log=True), [1e-300, 1.0, 1e300], [0, -1, 1e301]),
            (Int(0, 10, step=5), [0, 5, 10, 5.0, np.int64(5)], [1, 5.5, 15, -5, math.nan, math.inf, True, "5", None]),
            (Int(0, 2**70), [2**70, 2**70 - 1], [2**70 + 1]),
            (Categorical([1, "a", None]), [1, "a", None, 1.0, np.int64(1)], [2, "b", 1.5, [1]]),
            (Categorical([(1, 2), True]), [(1, 2), [1, 2], True, 1], [(2, 1), False]),
            (Categorical([math.nan]), [math.nan], [1.0, None]),
        ],
        ids=repr,
    )
    def test_contains(self, dist: BaseDistribution, inside: list[Any], outside: list[Any]) -> None:
        assert [v for v in inside if not dist.contains(v)] == []
        assert [v for v in outside if dist.contains(v)] == []

    @pytest.mark.parametrize(
        ("dist", "single"),
        [
            (Float(1, 1), True),
            (Float(1, 1.5), False),
            (Int(2, 2), True),
            (Int(2, 3), False),
            (Categorical(["x"]), True),
            (Categorical([1, 1.0]), False),
            (Float(2, 2, log=True), True),
        ],
    )
    def test_single(self, dist: BaseDistribution, single: bool) -> None:
        assert dist.single() is single

    @pytest.mark.parametrize(
        ("dist", "value"),
        [
            (Float(0, 1), math.nan),
            (Float(0, 1), "x"),
            (Float(0, 1), None),
            (Float(0, 1), 10**400),
            (Float(1, 2, log=True), 0.0),
            (Int(0, 1), math.nan),
            (Int(0, 1), math.inf),
            (Int(0, 1), "x"),
            (Int(1, 2, log=True), -1),
            (Int(0, 1), 10**400),
            (Categorical([1]), 2),
            (Categorical(["a"]), None),
        ],
        ids=repr,
    )
    def test_no_internal_value(self, dist: BaseDistribution, value: Any) -> None:
        with pytest.raises(InvalidValueError) as caught:
            dist.to_internal_repr(value)
        assert repr(value) in str(caught.value)

    def test_equal_choices_are_told_apart_by_type(self) -> None:
        """``1 == 1.0 == True``, but they are three choices, and each finds its own index."""
        dist = Categorical([True, 1, 1.0, math.nan, None])
        assert [dist.to_internal_repr(v) for v in (True, 1, 1.0, math.nan, None)] == [0, 1, 2, 3, 4]
        assert Categorical([1.0]).to_internal_repr(1) == 0  # no exact type: Python's == decides
        assert type(Categorical([1.0]).to_external_repr(0)) is float


class TestEquality:
    def test_values(self) -> None:
        assert Float(0, 1) == Float(0.0, 1.0)
        assert Float(0, 1) != Float(0, 1, log=False, step=0.5)
        assert Float(1, 2) != Float(1, 2, log=True)
        assert Int(0, 1) != Float(0, 1)
        assert Int(0, 4) != Int(0, 4, step=2)
        assert Float(0, 1) != "Float(0, 1)"
        assert len({Float(0, 1), Float(0.0, 1.0), Int(0, 1), Categorical([0, 1]), Categorical([0, 1])}) == 3

    @pytest.mark.parametrize(
        ("one", "other", "equal"),
        [
            ([1], [1], True),
            ([1], [True], False),
            ([1], [1.0], False),
            ([0], [False], False),
            ([math.nan], [math.nan], True),
            ([math.nan], [float("nan") * -1], True),
            ([(1,)], [[1]], True),
            ([(1,)], [(True,)], False),
            (["1"], [1], False),
            ([1, 2], [2, 1], False),
            ([np.int64(1)], [1], True),
            ([0.0], [-0.0], True),
        ],
    )
    def test_choices(self, one: list[Any], other: list[Any], equal: bool) -> None:
        a, b = Categorical(one), Categorical(other)
        assert (a == b) is equal
        if equal:
            assert hash(a) == hash(b)

    @given(distributions())
    def test_copies_are_equal(self, dist: BaseDistribution) -> None:
        for same in (pickle.loads(pickle.dumps(dist)), copy.deepcopy(dist), copy.copy(dist)):
            assert same == dist
            assert hash(same) == hash(dist)

    @given(distributions(), distributions())
    def test_equal_means_equal_hash(self, a: BaseDistribution, b: BaseDistribution) -> None:
        assert (a == b) == (b == a)
        if a == b:
            assert hash(a) == hash(b)


class TestJson:
    @given(distributions())
    def test_both_forms_come_back(self, dist: BaseDistribution) -> None:
        short = json.loads(json.dumps(distribution_to_dict(dist), allow_nan=False))
        for same in (distribution_from_dict(short), json_to_distribution(distribution_to_json(dist))):
            assert same == dist
            assert type(same) is type(dist)

    @pytest.mark.parametrize(
        "name",
        [
            "Float(0, 1)",
            "Float(1, 2, log=True)",
            "Float(0, 1, step=0.25)",
            "Int(-3, 9, step=3)",
            "Int(1, 9, log=True)",
            "Categorical([None, True, 2, 0.5, 'x'])",
        ],
    )
    def test_optuna_reads_ours_and_we_read_optunas(self, name: str) -> None:
        oracle = pytest.importorskip("optuna").distributions
        theirs = eval(name, {k: getattr(oracle, k + "Distribution") for k in ("Float", "Int", "Categorical")})
        ours = eval(name, {"Float": Float, "Int": Int, "Categorical": Categorical})
        assert json_to_distribution(oracle.distribution_to_json(theirs)) == ours
        assert oracle.json_to_distribution(distribution_to_json(ours)) == theirs

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "nonsense",
            "[1]",
            "5",
            "null",
            "{}",
            '{"name": "FloatDistribution"}',
            '{"name": "Gauss", "attributes": {}}',
            '{"type": "float"}',
            '{"type": "gauss", "low": 0}',
            '{"type": ["float"]}',
            '{"type": "float", "low": 0, "high": 1, "q": 2}',
            '{"type": "float", "low": 2, "high": 1}',
            '{"type": "int", "low": "a", "high": 1}',
            '{"choices": 5}',
            '{"type": "categorical", "choices": []}',
        ],
    )
    def test_malformed(self, text: str) -> None:
        with pytest.raises(TunesmithError) as caught:
            json_to_distribution(text)
        assert isinstance(caught.value, (ValueError, TypeError))

    def test_short_form_may_leave_out_the_type_of_choices(self) -> None:
        assert distribution_from_dict({"choices": ["a", [1, 2]]}) == Categorical(["a", (1, 2)])
        assert distribution_from_dict({"type": "int", "low": 1, "high": 4}) == Int(1, 4)

    def test_kinds_may_not_change_ranges_may(self) -> None:
        check_distribution_compatibility(Float(0, 1), Float(1, 5, log=True))
        check_distribution_compatibility(Categorical([1]), Categorical([2, 3]))  # Optuna refuses this one
        for new in (Int(0, 1), Categorical([0.5])):
            with pytest.raises(ValueError, match="cannot become"):
                check_distribution_compatibility(Float(0, 1), new)


class Red:
    """A class used as a choice."""


class Colour(enum.Enum):
    RED = 1


class Plain:
    """Its name is its address."""

    def __init__(self, value: int) -> None:
        self.value = value


class TestOpaqueChoices:
    def test_warned_about_and_kept_by_name(self) -> None:
        with pytest.warns(UserWarning, match="keeps only its name"):
            dist = Categorical([Red, len, "plain"])
        assert dist.choices[0] is Red
        again = json_to_distribution(distribution_to_json(dist))
        assert isinstance(again, CategoricalDistribution)
        assert again.choices == (OpaqueChoice(f"{__name__}.Red"), OpaqueChoice("builtins.len"), "plain")
        assert again == dist
        assert hash(again) == hash(dist)
        assert dist.contains(again.choices[0])
        assert again.contains(Red)

    @pytest.mark.filterwarnings("ignore:The choice")
    def test_a_copy_keeps_the_names_of_the_original(self) -> None:
        """Elsewhere its objects have other addresses; it is the same distribution all the same, and finds them."""
        dist = Categorical([Plain(1), (Plain(2), "x"), Plain(3), 1, 1.0, True, math.nan])
        for again in (pickle.loads(pickle.dumps(dist)), copy.deepcopy(dist)):
            assert again == dist
            assert hash(again) == hash(dist)
            assert distribution_to_json(again) == distribution_to_json(dist)
            assert [choice.value for choice in (again.choices[0], again.choices[1][0], again.choices[2])] == [1, 2, 3]
            assert again.choices[0] is not dist.choices[0]
            assert [again._find(choice) for choice in again.choices] == list(range(7))
            assert [again._find(choice) for choice in dist.choices] == list(range(7))

    def test_objects_whose_equality_is_odd(self) -> None:
        class Odd:
            def __eq__(self, other: object) -> bool:
                raise RuntimeError("no")

            __hash__ = None  # type: ignore[assignment]

        with pytest.warns(UserWarning, match="keeps only its name"):
            dist = Categorical([Odd(), np.array([1, 2]), Colour.RED])
        assert dist.contains(Colour.RED)
        assert not dist.contains(5)

    @given(choices)
    def test_json_of_choices(self, values: list[Any]) -> None:
        again = [
            choice_from_json(v) for v in json.loads(json.dumps([choice_to_json(v) for v in values], allow_nan=False))
        ]
        assert [choice_key(v) for v in again] == [choice_key(v) for v in values]

    @pytest.mark.usefixtures("no_warnings")
    def test_lists_become_tuples(self) -> None:
        dist = Categorical([[16, [32]], (64,)])
        assert dist.choices == ((16, (32,)), (64,))
        assert dist.contains([16, [32]])


def test_aliases() -> None:
    assert (Float, Int, Categorical) == (FloatDistribution, IntDistribution, CategoricalDistribution)


def test_wrong_types_are_type_errors() -> None:
    with pytest.raises(InvalidTypeError):
        distribution_from_dict(5)  # type: ignore[arg-type]
