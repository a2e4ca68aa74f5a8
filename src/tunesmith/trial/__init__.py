"""Trials: the live handle (:class:`Trial`), the record (:class:`FrozenTrial`), and their states."""

from tunesmith.exceptions import TrialPruned
from tunesmith.trial._base import BaseTrial
from tunesmith.trial._fixed import FixedTrial
from tunesmith.trial._frozen import FrozenTrial, create_trial
from tunesmith.trial._live import Trial, TrialOwner
from tunesmith.trial._state import TrialState

__all__ = ["BaseTrial", "FixedTrial", "FrozenTrial", "Trial", "TrialOwner", "TrialPruned", "TrialState", "create_trial"]
