"""Studies: the only place that appends to a log."""

from tunesmith.study._callbacks import MaxTrialsCallback, NoImprovementCallback, StopCallback, TargetCallback
from tunesmith.study._confirm import Confirmation, Confirmed
from tunesmith.study._create import (
    StudySummary,
    create_study,
    delete_study,
    get_all_study_names,
    get_all_study_summaries,
    load_study,
    minimize,
    suggest_all,
)
from tunesmith.study._crew import TrialAtWork, WorkerInfo
from tunesmith.study._direction import StudyDirection
from tunesmith.study._entries import LogEntry
from tunesmith.study._past import PastStudy
from tunesmith.study._study import Study
from tunesmith.study._transfer import copy_study, export_study, import_study

__all__ = [
    "Confirmation", "Confirmed", "LogEntry", "MaxTrialsCallback", "NoImprovementCallback", "PastStudy", "StopCallback",
    "Study", "StudyDirection", "StudySummary", "TargetCallback", "TrialAtWork", "WorkerInfo", "copy_study",
    "create_study", "delete_study", "export_study", "get_all_study_names", "get_all_study_summaries", "import_study",
    "load_study", "minimize", "suggest_all",
]  # fmt: skip
