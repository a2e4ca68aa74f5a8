"""Random spaces: whatever is proposed belongs to them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith import Categorical, Float, Int, Space, create_study
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import SearchSpaceExhaustedError
from tunesmith.numerics.streams import stream
from tunesmith.samplers import get_sampler, known_names
from tunesmith.testing._searches import check_domain, loss

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=1e-300, max_value=1e300)
WHOLE = st.integers(-(2**70), 2**70)
CHOICES = st.lists(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3), st.tuples(WHOLE)
    ),
    min_size=1,
    max_size=6,
)


@st.composite
def distributions(draw: Any) -> BaseDistribution:
    """Any kind of parameter, sane or extreme."""
    kind = draw(st.sampled_from(["float", "log float", "stepped float", "int", "log int", "stepped int", "choice"]))
    if kind == "float":
        return Float(*sorted((draw(FINITE), draw(FINITE))))
    if kind == "log float":
        return Float(*sorted((draw(POSITIVE), draw(POSITIVE))), log=True)
    if kind == "stepped float":
        low, step = draw(st.integers(-1000, 1000)) / 8, draw(st.integers(1, 40)) / 8
        return Float(low, low + step * draw(st.integers(0, 50)), step=step)
    if kind == "int":
        return Int(*sorted((draw(WHOLE), draw(WHOLE))))
    if kind == "log int":
        return Int(*sorted((draw(st.integers(1, 2**62)), draw(st.integers(1, 2**62)))), log=True)
    if kind == "stepped int":
        low, step = draw(st.integers(-(2**40), 2**40)), draw(st.integers(1, 2**20))
        return Int(low, low + step * draw(st.integers(0, 2**30)), step=step)
    return Categorical(draw(CHOICES))


SPACES = st.lists(distributions(), min_size=1, max_size=4).map(lambda ds: Space({f"p{i}": d for i, d in enumerate(ds)}))


@pytest.mark.parametrize("name", [n for n, (c, _) in known_names().items() if not getattr(c, "countable_only", False)])
@settings(max_examples=12)
@given(space=SPACES, seed=st.integers(0, 2**40), maximise=st.booleans())
def test_proposals_belong_to_the_space(name: str, space: Space, seed: int, maximise: bool) -> None:
    sampler = get_sampler(name)
    study = create_study(sampler=sampler, space=space, seed=seed, direction="maximize" if maximise else "minimize")
    try:
        for _ in range(7):
            trial = study.ask(space)
            study.tell(trial, loss(space, trial.params))
    except SearchSpaceExhaustedError:
        assert getattr(sampler, "finite", False)
    check_domain(study, space)
    for proposal in sampler.propose(space, study.history, stream(seed, 7), 3):
        assert set(proposal.params) == set(space)
        assert all(space[n].contains(v) for n, v in proposal.params.items())
