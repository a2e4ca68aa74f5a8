"""Policy gradient: an agent that learns by trial and error how to draw configurations.

Williams, R. J. (1992): Simple statistical gradient-following algorithms for connectionist reinforcement learning.
Machine Learning 8, 229-256 (REINFORCE).
Zoph, B. and Le, Q. V. (2017): Neural architecture search with reinforcement learning. ICLR (hyperparameters as actions,
a moving average as the baseline).
Schulman, J., Wolski, F., Dhariwal, P., Radford, A. and Klimov, O. (2017): Proximal policy optimization algorithms.
arXiv:1707.06347 (PPO).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from tunesmith._arguments import number, whole
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.numerics.policy import Policy
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._results import single_objective
from tunesmith.space import FloatArray, Space
from tunesmith.trial import TrialState

#: How many more draws are looked through for a configuration that is new, if the first is not.
DRAWS = 16


@dataclass(frozen=True, kw_only=True)
class PolicyGradientSampler(BaseSampler):
    """A factorised policy: each parameter is drawn from a distribution of its own, and each result makes the values
    that were drawn more probable or less.

    *Policy*: a softmax for every parameter, over the values of a choice, or over cells of a number's range (at most
    ``bins``, within which numbers are uniform). At first all are uniform. Numbers generalise: what is learnt at a cell
    holds for the cells beside it, too, less and less within one or two of them.

    *Reward*: by rank, so that the scale of the objective and outliers do not matter: 1 for a new best trial, -1 for a
    new worst one, linear between them in the share of the earlier trials that it beats. A failed trial, and a pruned
    one without a value, earns -1; infeasible ones rank below feasible ones. The advantage is the reward less a moving
    average of rewards. After ``batch_size`` finished trials the policy makes a step

        theta <- theta + learning_rate * mean(advantage * grad log p(configuration)) + entropy bonus,

    where only parameters that were active in a trial have a gradient. With ``clip`` it makes ``epochs`` such steps on
    the clipped surrogate of PPO.

    *State*: none but the trials: the policy is computed from them in the order in which they finish. Enqueued trials
    and those of other workers teach as if the present policy had drawn them. Running trials have no reward yet; n
    proposals at once are n draws. Where all values are countable, a draw that is known is drawn again, up to 16 times,
    and then replaced by a random untried configuration.

    *How many trials it needs*: an agent has no model, so it learns little from each trial. On 15 tables of networks it
    is ahead of random search from the first 20 trials on, and does not reach in 60 what a Gaussian process has after 40
    (records/2026-11-21-search-efficiency). The policy knows what is good of each parameter on the average over the
    others: it is fast where parameters act independently, cannot follow a narrow valley, and finds a number to within a
    cell.

    Args:
        learning_rate: of the logits. 1 was better than 0.5 and 2 on tables of networks (the same record).
        entropy: weight of the entropy bonus, which keeps the policy from becoming certain too early.
        baseline_decay: of the moving average; 0.9 averages about ten trials.
        batch_size: finished trials to a step.
        clip: epsilon of PPO's clipping; ``None`` is REINFORCE.
        epochs: steps on one batch; more than one needs ``clip``.
        bins: most cells of a number. What is learnt reaches one or two cells to either side, so more cells are finer
            and learn more slowly; 20 were better than 10 from 100 trials on.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    Raises:
        InvalidValueError, InvalidTypeError: impossible arguments; a study with several objectives.
    """

    learning_rate: float = 1.0
    entropy: float = 0.01
    baseline_decay: float = 0.9
    batch_size: int = 1
    clip: float | None = None
    epochs: int = 1
    bins: int = 20
    seed: int | None = None

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "reinforce": {},
        "rl": {},
        "ppo": {"learning_rate": 4.0, "batch_size": 5, "clip": 0.2, "epochs": 4},
    }

    def __post_init__(self) -> None:
        number("learning_rate", self.learning_rate, 0.0)
        number("entropy", self.entropy, 0.0)
        number("baseline_decay", self.baseline_decay, 0.0, 1.0)
        whole("batch_size", self.batch_size, 1)
        whole("epochs", self.epochs, 1)
        whole("bins", self.bins, 1)
        if self.clip is not None:
            number("clip", self.clip, 0.0)
        elif self.epochs > 1:
            raise InvalidValueError(
                f"`epochs` = {self.epochs} steps on the same trials need a `clip` (0.2 is usual), or the policy "
                "would run away from what has drawn them."
            )

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        single_objective("PolicyGradientSampler", history)
        if not len(space):
            return [Proposal({})] * n
        key = ("policy", space.id, *astuple(replace(self, seed=None)))
        novel = Novel(space, history)
        with history.memo(key, lambda: _Agent(space, self)) as agent:
            rows = agent.policy.draw(rng, n)
            for k in range(n if novel.possible else 0):
                again = agent.policy.draw(rng, DRAWS) if novel.has(rows[k]) else rows[k : k + 1]
                rows[k] = novel.new(again, rng)
        return [Proposal(space.to_params(row)) for row in space.decode(rows)]


class _Agent:
    """Memo: the policy after the first ``n`` trials."""

    def __init__(self, space: Space, sampler: PolicyGradientSampler) -> None:
        self.space, self.n, self._sampler = space, 0, sampler
        levels, choices = space.columns.levels, space.columns.categorical
        few = choices | ((levels > 0) & (levels <= sampler.bins))
        sizes = np.where(few, levels, sampler.bins).astype(np.int64)
        self.policy = Policy(sizes.tolist(), (~choices).tolist())
        self._baseline = 0.0
        self._told: list[tuple[float, float]] = []
        self._batch: list[tuple[FloatArray, float]] = []

    def extend(self, history: History) -> None:
        first = self.n
        x = history.encode(self.space)[first:]
        loss = (history.Y[first:, 0] * history.directions[0]).tolist()
        violation, failed = history.violation[first:].tolist(), (history.state[first:] == TrialState.FAIL).tolist()
        for row, value, excess, fail in zip(x, loss, violation, failed, strict=True):
            self._hear(row, -1.0 if fail or value != value else self._reward((excess, value)))
        self.n = history.n

    def _reward(self, result: tuple[float, float]) -> float:
        """From the share of the results so far that are worse (those that are equal count half)."""
        below, upto, n = bisect_left(self._told, result), bisect_right(self._told, result), len(self._told)
        insort(self._told, result)
        return 1.0 - (below + upto) / n if n else 0.0

    def _hear(self, row: FloatArray, reward: float) -> None:
        sampler = self._sampler
        self._batch.append((row, reward - self._baseline))
        self._baseline += (1.0 - sampler.baseline_decay) * (reward - self._baseline)
        if len(self._batch) < sampler.batch_size:
            return
        x, advantage = (np.array(column) for column in zip(*self._batch, strict=True))
        self.policy.learn(x, advantage, sampler.learning_rate, sampler.entropy, sampler.clip, sampler.epochs)
        self._batch = []
