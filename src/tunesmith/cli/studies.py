"""Looking at studies: ``studies``, ``show``, ``best``, ``trials``. Nothing here changes a storage."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Annotated, Any

from tunesmith.cli import options, output, records
from tunesmith.cli.inputs import load_study, open_storage, unknown_names
from tunesmith.exceptions import CLIUsageError, TunesmithError

if TYPE_CHECKING:
    from tunesmith.study import Study
    from tunesmith.trial import FrozenTrial

#: States in the order in which `show` lists them; the first three are finished.
STATES = ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING", "PAUSED")


def studies(
    place: options.StorageArgument = None,
    storage: options.StorageOption = None,
    format: options.AsTable = options.TableFormat.table,
) -> None:
    """List the studies in a storage.

    For each: trials by state, best value, last activity.
    """
    from tunesmith.study import get_all_study_summaries

    with open_storage(storage or place) as store:
        found = get_all_study_summaries(store)
    entries = [_summary_entry(s) for s in found]
    if format is options.TableFormat.json:
        output.print_json(entries)
    elif not entries:
        output.line("There are no studies in this storage.")
    else:
        _print_studies(entries)


def _summary_entry(summary: Any) -> dict[str, Any]:
    best = summary.best_trial
    return {
        "name": summary.study_name,
        "directions": [d.name.lower() for d in summary.directions],
        "sampler": summary.sampler,
        "n_trials": summary.n_trials,
        "states": summary.states,
        "best_value": None if best is None else best.value,
        "best_trial": None if best is None else best.number,
        "first_activity": summary.datetime_start,
        "last_activity": summary.datetime_last or summary.datetime_start,
    }


def _print_studies(entries: list[dict[str, Any]]) -> None:
    from tunesmith.compare.formatting import NOTHING, number
    from tunesmith.compare.render import Cell, Column, Table

    seen = [state for state in STATES if any(state in e["states"] for e in entries)]
    columns = [Column("study", "left"), Column("goal", "left", rank=9), Column("trials")]
    columns += [Column(records.state_name(s), rank=0 if s == "COMPLETE" else 2 + i) for i, s in enumerate(seen)]
    columns += [Column("best value"), Column("last activity", "left", rank=1)]
    rows = []
    for e in entries:
        row = [e["name"], "/".join(d[:3] for d in e["directions"]), str(e["n_trials"])]
        row += [str(e["states"].get(state, 0)) for state in seen]
        row.append(number(e["best_value"]) if len(e["directions"]) == 1 else "several")
        row.append(local(e["last_activity"]) or NOTHING)
        rows.append([Cell(text) for text in row])
    output.table(Table("", columns, rows), "--format json")


def local(time: datetime.datetime | None) -> str:
    """A time for people, in this machine's zone."""
    return "" if time is None else time.strftime("%Y-%m-%d %H:%M:%S")


# -- show ----------------------------------------------------------------------------------------------------------


def show(
    name: options.OptionalName = None,
    storage: options.Storage = None,
    last: Annotated[
        int,
        options.count("--last", low=0, help="How many of the last trials to list."),
    ] = 5,
    format: options.AsTable = options.TableFormat.table,
) -> None:
    """Show a study: trials by state, best value, parameters.

    Also its sampler, stopping rule and seed, and the last trials. Looking changes nothing.
    """
    with open_storage(storage) as store:
        study = load_study(name, store)
        trials = study.trials
        if format is options.TableFormat.json:
            output.print_json(_statistics(study, trials, last))
        else:
            _print_study(study, trials, last)


def counts(trials: list[FrozenTrial]) -> dict[str, int]:
    """State -> how many trials, every state listed."""
    return {state: sum(t.state.name == state for t in trials) for state in STATES}


def _method(study: Study, what: str) -> str:
    """The sampler or pruner with those of its arguments that are not the defaults."""
    try:
        component = getattr(study, what)
    except TunesmithError:
        return "made by a program of yours; the log does not hold it"
    if not dataclasses.is_dataclass(component):
        return repr(component)
    given = [
        f"{f.name}={getattr(component, f.name)!r}"
        for f in dataclasses.fields(component)
        if f.init and f.repr and getattr(component, f.name) != _default(f)
    ]
    return type(component).__name__ + (f"({', '.join(given)})" if given else "")


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _statistics(study: Study, trials: list[FrozenTrial], last: int) -> dict[str, Any]:
    found = counts(trials)
    start, end = _activity(trials)
    return {
        "name": study.study_name,
        "directions": [d.name.lower() for d in study.directions],
        "metric_names": study.metric_names,
        "sampler": _method(study, "sampler"),
        "pruner": _method(study, "pruner"),
        "seed": study.seed,
        "n_trials": len(trials),
        "finished": sum(found[s] for s in STATES[:3]),
        **{state.lower(): n for state, n in found.items()},
        "first_activity": start,
        "last_activity": end,
        "best": [{"number": t.number, "values": t.values, "params": t.params} for t in records.best_trials(study)],
        "user_attrs": study.user_attrs,
        "last_trials": [records.as_record(t) for t in trials[len(trials) - min(last, len(trials)) :]],
    }


def _activity(trials: list[FrozenTrial]) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    starts = [t.datetime_start for t in trials if t.datetime_start]
    ends = [t.datetime_complete for t in trials if t.datetime_complete]
    return min(starts, default=None), max(starts + ends, default=None)


def _print_study(study: Study, trials: list[FrozenTrial], last: int) -> None:
    found = counts(trials)
    start, end = _activity(trials)
    names = records.value_names(study)
    goal = ", ".join(
        d.name.lower() + (f" {n}" if study.metric_names else "") for d, n in zip(study.directions, names, strict=True)
    )
    output.line(f"Study {study.study_name}")
    output.line()
    output.pairs(
        [
            ("goal", goal),
            ("sampler", _method(study, "sampler")),
            ("pruner", _method(study, "pruner")),
            ("seed", str(study.seed)),
            ("first trial", local(start) or "none yet"),
            ("last activity", local(end) or "none yet"),
        ],
        indent=2,
    )
    output.line()
    width = len(str(len(trials)))
    output.line(f"Trials: {len(trials)}")
    output.pairs(
        [("finished", f"{sum(found[s] for s in STATES[:3]):{width}}")]
        + [(("  " if i < 3 else "") + records.state_name(s), f"{found[s]:{width}}")
           for i, s in enumerate(STATES)],
        indent=2,
    )  # fmt: skip
    _print_best(study)
    _print_last(study, trials, last)


def _print_best(study: Study) -> None:
    output.line()
    best = records.best_trials(study)
    if not best:
        output.line("Best: no trial is complete yet.")
    elif len(study.directions) > 1:
        what = "1 trial" if len(best) == 1 else f"{len(best)} trials"
        output.line(f"Best: {what} that no other one beats in every objective; see `tunesmith best`.")
    else:
        output.line(f"Best: trial {best[0].number}, {records.value_names(study)[0]} {best[0].value:.6g}")
        output.pairs([(n, _exact(v)) for n, v in best[0].params.items()], indent=2)


def _exact(value: Any) -> str:
    """A value with all its digits; a text in quotes when it could be taken for something else ('8', 'true')."""
    from tunesmith.cli import yamls

    if not isinstance(value, str):
        return repr(value)
    try:
        return value if yamls.parse(value, "") == value else repr(value)
    except CLIUsageError:
        return repr(value)


def _print_last(study: Study, trials: list[FrozenTrial], last: int) -> None:
    if not last or not trials:
        return
    shown = trials[-last:]
    output.line()
    output.line("Last trials" if len(shown) < len(trials) else "All trials")
    output.table(records.as_table(study, shown), "tunesmith trials --format csv")
    for trial in shown:
        if reason := trial.user_attrs.get("fail_reason") or trial.system_attrs.get("fail_reason"):
            output.line(f"Trial {trial.number} failed: {' '.join(str(reason).split())[:300]}")


# -- best ----------------------------------------------------------------------------------------------------------


def best(
    name: options.OptionalName = None,
    storage: options.Storage = None,
    format: options.AsBest = options.BestFormat.table,
) -> None:
    """Print the best parameters.

    With several objectives: all trials that no other one beats in every objective (the Pareto front).
    """
    with open_storage(storage) as store:
        study = load_study(name, store)
        found = records.best_trials(study)
        if not found:
            raise CLIUsageError(f"The study {study.study_name!r} has no complete trial yet, so there is no best one.")
        several = len(study.directions) > 1
        params: Any = [t.params for t in found] if several else found[0].params
        if format is options.BestFormat.json:
            output.print_json(params)
        elif format is options.BestFormat.yaml:
            import yaml

            text = yaml.safe_dump(output.plain(params), sort_keys=False, allow_unicode=True, default_flow_style=False)
            output.line(text.rstrip("\n"))
        elif several:
            output.table(records.as_table(study, found), "--format json")
        else:
            output.line(f"Trial {found[0].number}: {records.value_names(study)[0]} {_exact(found[0].value)}")
            output.pairs([(n, _exact(v)) for n, v in found[0].params.items()], indent=2)


# -- trials --------------------------------------------------------------------------------------------------------


def trials(
    name: options.OptionalName = None,
    storage: options.Storage = None,
    format: options.AsTrials = options.TrialsFormat.table,
    states: options.States = None,
    limit: Annotated[
        int | None,
        options.count("--limit", low=0, help="Only the last N."),
    ] = None,
) -> None:
    """List a study's trials in order, the best one marked."""
    wanted = parse_states(states)
    with open_storage(storage) as store:
        study = load_study(name, store)
        found = [t for t in study.trials if wanted is None or t.state.name in wanted]
        if limit is not None:
            found = found[len(found) - min(limit, len(found)) :]
        if format is not options.TrialsFormat.table:
            output.raw(records.as_text(study, found, format.value))
        elif not found:
            output.line("No trials." if wanted is None and limit is None else "No such trials.")
        else:
            output.table(records.as_table(study, found), "--format csv")


def parse_states(text: str | None) -> set[str] | None:
    """``"complete,pruned"`` -> names of states; None for all.

    Raises:
        CLIUsageError: an unknown state.
    """
    if text is None:
        return None
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    words = ["fail" if word == "failed" else word for word in words]
    unknown_names(words, [s.lower() for s in STATES], "Unknown state")
    return {word.upper() for word in words}
