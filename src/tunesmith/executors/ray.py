"""Many workers: tasks of Ray, on a cluster or on this machine."""

from __future__ import annotations

import itertools
import math
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from tunesmith import logging
from tunesmith._arguments import number, whole
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError, WorkerDiedError
from tunesmith.executors._base import BaseExecutor, Host
from tunesmith.executors._limits import check_limits
from tunesmith.executors._messages import Setup, pack_objective
from tunesmith.executors._ray_channel import Mailbox, RayChannel, Run, evaluate_one
from tunesmith.executors._remote import RemoteWorker
from tunesmith.executors._threads import run_workers
from tunesmith.trial import Trial

_logger = logging.get_logger("tunesmith.executors")

#: So many tasks in a row may be lost before they could begin a trial (a cluster that falls apart).
_LOST_AT_MOST = 10
#: What is asked for by arguments, and is no option.
_OWN_OPTIONS = ("num_cpus", "num_gpus", "resources", "memory", "max_retries", "retry_exceptions", "num_returns")


class RayExecutor(BaseExecutor):
    """Evaluates on a Ray cluster: ``study.optimize(objective, 100, backend=RayExecutor(num_gpus=0.25))``.

    One attempt of one trial is one task, which Ray never retries (``max_retries=0``): the study does. A task is started
    first and the trial is chosen when the task runs, so a full cluster or a lost node delays no trial, and each
    proposal knows all results there are. Only this process, the driver, writes to the store. When it dies, Ray ends the
    tasks; the next driver goes on with the study. A worker process or node that is lost costs its trial one attempt.

    A task of Ray holds its resources as long as it lives, so none is kept for a paused trial: its generator is closed.
    When the trial is to go on, a new task continues it from the state that ``trial.save`` has written (through the
    driver), or, without one, begins it again; ``train.Problem`` saves by itself.

    ``lanes`` and ``trial_memory`` are not offered: give ``memory``, by which Ray places tasks, and see to
    ``RAY_memory_usage_threshold``, by which it ends them.

    Args:
        n: tasks at a time; None: as many as the cluster has room for when the run begins. Say it where the cluster
            grows by itself. A thread here accompanies each task; a thousand is a sensible maximum for one driver, and
            several drivers may work on one study.
        num_cpus: cores of a task; fractions are allowed.
        num_gpus: GPUs of a task; 0.25 lets four tasks share one (their memory is not divided by Ray).
        resources: further resources of a task by their names, as the nodes were started with.
        memory: bytes of main memory that a task counts for when it is placed.
        options: other options of Ray's tasks, such as ``{"runtime_env": {"pip": ["timm"]}}``.
        address: of the cluster, as ``ray.init`` takes it; not used when Ray is initialized already. None: the one in
            RAY_ADDRESS, else a cluster of this machine alone is started, which lives as long as this process.
        trial_timeout: seconds for which a trial may compute; then its task is killed and it is FAIL.
        collect: collect garbage after each trial.

    Raises:
        MissingDependencyError: Ray is not installed. InvalidTypeError, InvalidValueError: an impossible argument.
    """

    def __init__(
        self,
        n: int | None = None,
        *,
        num_cpus: float = 1,
        num_gpus: float = 0,
        resources: Mapping[str, float] | None = None,
        memory: float | None = None,
        options: Mapping[str, Any] | None = None,
        address: str | None = None,
        trial_timeout: float | None = None,
        collect: bool = False,
    ) -> None:
        if n is not None:
            whole("n", n, 1)
        self.n = n
        self.needs = _needs(num_cpus, num_gpus, resources, memory)
        self.options = dict(options or {})
        if own := [name for name in _OWN_OPTIONS if name in self.options]:
            raise InvalidValueError(
                f"`options` holds {own[0]!r}, which is an argument of its own or is decided by the study; leave it out."
            )
        self.address = address
        self.limits = check_limits(trial_timeout, None)
        self.collect = collect
        _import_ray()

    def resumes(self, kept: Any) -> bool:
        """Never: no task waits for its trial to go on."""
        return False

    def stops(self, trial: Trial) -> bool:
        """A task that does not come to an end is killed."""
        return True

    def run(self, host: Host) -> None:
        """See :meth:`BaseExecutor.run`.

        Raises:
            InvalidTypeError: the objective cannot be pickled, or not be loaded by a task.
            InvalidValueError: the cluster has no room for a single task.
            WorkerDiedError: task after task is lost before it could begin a trial.
        """
        ray = _import_ray()
        objective = pack_objective(host.objective)
        if not ray.is_initialized():
            ray.init(address=self.address, logging_level=_ray_level())
        n = self.n or self._room(ray)
        mailbox = _open_mailbox(ray, n)
        setup = ray.put(Setup(objective, logging.get_verbosity(), self.collect, sys.argv))
        run = Run(uuid.uuid4().hex, mailbox, setup, list(sys.path))
        task, numbers = ray.remote(evaluate_one).options(**self._task_options()), itertools.count()

        def start() -> RemoteWorker:
            conversation = next(numbers)
            reference = task.remote(run, conversation)
            return RemoteWorker(RayChannel(mailbox, conversation, reference, patience=n / 1000), self.limits)

        try:
            run_workers(n, lambda: _work_through(host, start), host.stop, here=False)
        finally:
            ray.kill(mailbox)

    def _task_options(self) -> dict[str, Any]:
        named = {k: v for k, v in self.needs.items() if k not in ("CPU", "GPU", "memory")}
        found: dict[str, Any] = {"num_cpus": self.needs["CPU"], "num_gpus": self.needs["GPU"], "resources": named}
        if "memory" in self.needs:
            found["memory"] = self.needs["memory"]
        return {"name": "tunesmith trial", **self.options, **found, "max_retries": 0}

    def _room(self, ray: Any) -> int:
        """How many tasks the nodes have room for; a task is never split between two of them."""
        total = 0
        for node in ray.nodes():
            there = node["Resources"] if node["Alive"] else {}
            total += min(
                (math.floor(there.get(name, 0) / need + 1e-9) for name, need in self.needs.items() if need > 0),
                default=0,
            )
        if not total:
            needs = {name: need for name, need in self.needs.items() if need}
            raise InvalidValueError(
                f"No node of the Ray cluster has room for a task that needs {needs}; all nodes together have "
                f"{ray.cluster_resources()}. Ask for less, start nodes with more, or give `n` if nodes are yet to come."
            )
        return total


def _work_through(host: Host, start: Callable[[], RemoteWorker]) -> None:
    """Start one task after the other and give a trial to each, until there are none left."""
    with host.worker():
        while (worker := _running(host, start)) is not None:
            try:
                works = host.take()
            except BaseException:
                worker.channel.kill()
                raise
            outcome = worker.evaluate(host, works[0], lambda kept: None) if works else None
            worker.end()  # closes a paused trial's generator
            worker.channel.close()
            if outcome is None:
                return
            outcome()


def _running(host: Host, start: Callable[[], RemoteWorker]) -> RemoteWorker | None:
    """A task that runs and has loaded the objective; None if the loop is to stop."""
    for lost in itertools.count(1):
        worker = start()
        try:
            worker.get_ready(lambda: host.stopping)
        except WorkerDiedError as error:
            if host.stopping:
                worker.channel.close()
                return None
            failure = worker.channel.failure()  # type: ignore[attr-defined]
            worker.channel.close()  # or the mailbox would keep its place in the conversation for ever
            if lost >= _LOST_AT_MOST or type(failure).__name__ == "RuntimeEnvSetupError":
                raise error from failure
            _logger.warning("%s Another one is started.", error)
            continue
        except BaseException:
            worker.channel.kill()
            raise
        if host.stopping:
            worker.channel.kill()
            return None
        return worker
    return None


def _open_mailbox(ray: Any, n: int) -> Any:
    """On the node of this process, with which it is lost, too."""
    here = ray.get_runtime_context().get_node_id()
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
    options = {"num_cpus": 0, "max_concurrency": max(1000, 4 * n), "scheduling_strategy": strategy}
    return ray.remote(Mailbox).options(**options).remote()


def _needs(num_cpus: Any, num_gpus: Any, resources: Any, memory: Any) -> dict[str, float]:
    """Ray's name of a resource -> how much of it a task needs."""
    if not isinstance(resources, (Mapping, type(None))):
        raise InvalidTypeError(f"`resources` must be a mapping name -> amount, but is {resources!r}.")
    number("num_cpus", num_cpus, 0)
    number("num_gpus", num_gpus, 0)
    found = {"CPU": float(num_cpus), "GPU": float(num_gpus)}
    for name, amount in (resources or {}).items():
        number(f"resources[{name!r}]", amount, 0)
        found[str(name)] = float(amount)
    if memory is not None:
        number("memory", memory, 1)
        found["memory"] = float(memory)
    if not any(found.values()):
        raise InvalidValueError("A task must need something, or the cluster would start any number: give num_cpus > 0.")
    return found


def _ray_level() -> str:
    """Ray's own messages are shown as far as ours are."""
    return "INFO" if logging.get_verbosity() <= logging.DEBUG else "WARNING"


def _import_ray() -> Any:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise MissingDependencyError(
            f"backend='ray' needs Ray, which cannot be imported ({error}); `pip install 'tunesmith[ray]'` brings it."
        ) from error
    return ray
