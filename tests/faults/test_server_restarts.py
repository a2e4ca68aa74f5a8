"""The short version of ``server_restarts.py``."""

from __future__ import annotations

import pytest
import server_restarts
import study_restarts
from storages.servers import Missing

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_restarts(kind: str) -> None:
    """Two, one in good order and one as a crash: nobody fails, nothing is lost, and nothing is there twice."""
    try:
        result = server_restarts.run(kind=kind)
    except Missing as error:
        pytest.skip(str(error))
    assert result["workers_that_survived"] == result["workers"] == 4
    assert result["times_that_all_went_on"] == result["of"] == 3
    assert (result["lost"], result["doubled"], result["changed"]) == (0, 0, 0)
    assert result["records"] > 0


def test_studies_survive_restarts() -> None:
    """The same while workers optimize a study."""
    try:
        result = study_restarts.run()
    except Missing as error:
        pytest.skip(str(error))
    assert result["workers_that_survived"] == result["workers"] == 3
    assert result["times_that_all_went_on"] == result["of"] == 3
    assert (result["lost"], result["changed"], result["attempts_made_twice"]) == (0, 0, 0)
    assert result["acknowledged"] > 0
