"""What methods with a model make of a configuration that is enqueued in part."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.distributions import Categorical, Float
from tunesmith.space import Space
from tunesmith.study import create_study, suggest_all


@pytest.mark.parametrize("sampler", ["random-forest", "thompson"])
def test_what_is_enqueued_in_part_is_completed_by_the_model(sampler: str) -> None:
    """Beside the given value stand the others' best ones; before there is a model they are random, and differ."""
    space = Space({"x": Float(0, 1), "y": Float(0, 1), "c": Categorical(["a", "b"])})
    study = create_study(sampler=sampler, space=space, seed=0)
    for x in [0.9] * 3 + [None] * 30 + [0.9] * 5:
        if x is not None:
            study.enqueue_trial({"x": x})
        study.optimize(lambda t: abs(suggest_all(t, space)["y"] - 0.3) + (t.params["c"] == "b") + t.params["x"] / 9, 1)
    first, last = ([t.params for t in trials] for trials in (study.trials[:3], study.trials[-5:]))
    assert {p["x"] for p in first + last} == {0.9}
    assert len({p["y"] for p in first + last}) == 8
    assert np.median([abs(p["y"] - 0.3) for p in last]) < 0.1
    assert [p["c"] for p in last].count("a") >= 4
