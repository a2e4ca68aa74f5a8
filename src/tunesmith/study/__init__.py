"""Studies: the only place that appends to a log."""

from tunesmith.study._callbacks import MaxTrialsCallback, NoImprovementCallback, StopCallback, TargetCallback
from tunesmith.study._confirm import Confirmation, Confirmed
from tunesmith.study._create import (
    StudySummary,
    copy_study,
    create_study,
    delete_study,
    get_all_study_names,
    get_all_study_summaries,
    load_study,
    minimize,
    suggest_all,
)
from tunesmith.study._direction import StudyDirection
from tunesmith.study._study import Study

__all__ = [
    "Confirmation", "Confirmed", "MaxTrialsCallback", "NoImprovementCallback", "StopCallback", "Study",
    "StudyDirection", "StudySummary", "TargetCallback", "copy_study", "create_study", "delete_study",
    "get_all_study_names", "get_all_study_summaries", "load_study", "minimize", "suggest_all",
]  # fmt: skip
