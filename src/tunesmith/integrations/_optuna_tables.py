"""Reading the tables that Optuna's ``RDBStorage`` keeps in SQLite, PostgreSQL or MySQL, as versions 2.4 to 5 made them.

Only known columns are read, and what a version does not have yet is worked out as Optuna's own migration does it, so an
old database need not be upgraded first. Everything is read in one transaction that cannot write.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tunesmith.exceptions import (
    InvalidValueError,
    LogDamagedError,
    MissingDependencyError,
    NotALogError,
    StorageInternalError,
)
from tunesmith.integrations._optuna_records import Distributions, TheirStudy, TheirTrial, understanding
from tunesmith.storages._urls import KINDS, parse_url, without_password

#: Table -> the columns that are read, and those that older schemas do not have.
_TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "studies": (("study_id", "study_name"), ()),
    "study_directions": (("study_id", "objective", "direction"), ()),
    "study_user_attributes": (("study_id", "key", "value_json"), ()),
    "study_system_attributes": (("study_id", "key", "value_json"), ()),
    "trials": (("trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"), ()),
    "trial_user_attributes": (("trial_id", "key", "value_json"), ()),
    "trial_system_attributes": (("trial_id", "key", "value_json"), ()),
    "trial_params": (("param_id", "trial_id", "param_name", "param_value", "distribution_json"), ()),
    "trial_values": (("trial_id", "objective", "value"), ("value_type",)),
    "trial_intermediate_values": (("trial_id", "step", "intermediate_value"), ("intermediate_value_type",)),
}
#: Table -> the column whose order matters.
_ORDERS = {"study_directions": "objective", "trials": "number", "trial_params": "param_id", "trial_values": "objective"}
_LARGEST = 3.4028234663852886e38  # float32
_SPECIAL = {"INF_POS": float("inf"), "INF_NEG": float("-inf"), "NAN": float("nan")}
_DIRECTIONS = {"MINIMIZE": 1, "MAXIMIZE": -1, "NOT_SET": 1}


def read_database(url: str | sa.URL, names: Sequence[str] | None) -> list[TheirStudy]:
    """The studies in a database, in the order they were made.

    Args:
        url: as Optuna takes it; of a file with ``?`` or ``%`` in its name, in parts.
        names: the studies to read; ``None`` reads all. Unknown names are left out.

    Raises:
        InvalidValueError: the URL cannot be understood, or the file does not exist.
        NotALogError: the database is not Optuna's, or older than version 2.4.
        LogDamagedError: what it holds contradicts itself. StorageInternalError: it cannot be reached or read.
        MissingDependencyError: the driver is not installed.
    """
    kind, parsed = _parse(url)
    place = f"The database {without_password(str(url))!r}"
    try:
        with understanding(place, "its tables"), _reading(kind, parsed) as connection:
            reader = _Reader(connection, place)
            known = reader.studies()
            return [reader.study(number, name) for number, name in known if names is None or name in names]
    except DBAPIError as error:
        raise _translate(error.orig, place) from error


def _parse(url: str | sa.URL) -> tuple[str, sa.URL]:
    """The kind of database, and its URL with the driver that is used here, whatever the one that Optuna used."""
    if isinstance(url, str):
        name, _, rest = url.partition("://")
        kind = name.partition("+")[0].lower()
        if kind not in KINDS:
            raise InvalidValueError(
                f"Storages of the kind {kind!r} cannot be read; SQLite, PostgreSQL, MySQL and journal files can. With "
                "Optuna, optuna.copy_study(from_study_name=..., from_storage=..., to_storage='sqlite:///optuna.db') "
                "makes one of them."
            )
        url = f"{kind}://{rest}"
    kind, parsed = parse_url(url)
    if kind == "sqlite" and not Path(parsed.database or "").is_file():
        raise InvalidValueError(
            f"There is no file {parsed.database!r}, so {str(url)!r} holds no studies. Check the path: "
            "sqlite:///relative.db, sqlite:////absolute.db."
        )
    return kind, parsed


#: Kind of database -> the statements that begin a transaction which sees one state and cannot write.
_BEGIN = {
    "sqlite": ("BEGIN",),
    "postgresql": ("SET TRANSACTION READ ONLY",),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "START TRANSACTION WITH CONSISTENT SNAPSHOT"),
}


@contextmanager
def _reading(kind: str, url: sa.URL) -> Iterator[sa.Connection]:
    """A connection in one read-only transaction."""
    try:
        if kind == "sqlite":
            engine = sa.create_engine("sqlite://", creator=lambda: _open_file(str(url.database)), poolclass=NullPool)
        else:
            engine = sa.create_engine(url, isolation_level="REPEATABLE READ", poolclass=NullPool)
    except ImportError as error:
        driver = "psycopg[binary]" if kind == "postgresql" else "PyMySQL"
        raise MissingDependencyError(f"{error}. `pip install {driver}` brings the driver.") from error
    with engine.connect() as connection:
        for statement in _BEGIN[kind]:
            connection.exec_driver_sql(statement)
        yield connection


def _open_file(path: str) -> sqlite3.Connection:
    """Open for reading only; functions in a schema that somebody has prepared are not run."""
    connection = sqlite3.connect(Path(path).absolute().as_uri() + "?mode=ro", uri=True)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _translate(error: BaseException | None, place: str) -> StorageInternalError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return NotALogError(f"{place} is not an SQLite database. Give Optuna's database, or the path of its journal.")
    if code == sqlite3.SQLITE_CORRUPT or str(error).startswith("Could not decode to UTF-8"):
        return LogDamagedError(
            f"{place} is damaged: {error}. Nothing was imported. Restore it from a copy, or try sqlite3's .recover."
        )
    return StorageInternalError(f"{place} cannot be read: {error}. Nothing was imported. Check that it can be reached.")


class _Reader:
    """Reads the tables of one database."""

    def __init__(self, connection: sa.Connection, place: str) -> None:
        self._connection, self._place = connection, place
        self._columns: dict[str, list[str]] = {}
        self._check_tables()
        self._utc = self._times_are_utc()
        self._distributions = Distributions()

    def _check_tables(self) -> None:
        inspector = sa.inspect(self._connection)
        tables = set(inspector.get_table_names())
        if not {"studies", "trials", "trial_params", "version_info"} <= tables:
            shown = ", ".join(sorted(tables)[:12]) or "none"
            raise NotALogError(f"{self._place} is not one of Optuna: its tables are: {shown}. Give another one.")
        for table, (needed, later) in _TABLES.items():
            there = {column["name"] for column in inspector.get_columns(table)} if table in tables else set()
            if missing := [name for name in needed if name not in there]:
                raise NotALogError(
                    f"{self._place} has no {table}.{missing[0]}: it was made by an Optuna before 2.4 or by one that is "
                    "not known yet. Bring it to a known form with Optuna (optuna storage upgrade --storage URL), and "
                    "import it then."
                )
            self._columns[table] = [*needed, *(name for name in later if name in there)]

    def _times_are_utc(self) -> bool:
        """Optuna writes times in UTC since version 5, before that in local time; both without saying so."""
        made_by = self._rows("version_info", ["library_version"], None, None)
        version = str(made_by[0][0]) if made_by else ""
        return version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) >= 5

    def _rows(self, table: str, columns: list[str], key: str | None, study: int | None) -> Sequence[Any]:
        """Rows, of one study's or of its trials' where ``key`` names the column that tells."""
        found = sa.table(table, *(sa.column(name) for name in columns))
        query = sa.select(*found.c)
        if key == "study_id":
            query = query.where(found.c.study_id == study)
        elif key == "trial_id":
            trials = sa.table("trials", sa.column("trial_id"), sa.column("study_id"))
            query = query.where(found.c.trial_id.in_(sa.select(trials.c.trial_id).where(trials.c.study_id == study)))
        if table in _ORDERS:
            query = query.order_by(found.c[_ORDERS[table]])
        return self._connection.execute(query).fetchall()

    def studies(self) -> list[tuple[int, str]]:
        """Optuna's id and the name of every study."""
        return sorted((row[0], row[1]) for row in self._rows("studies", self._columns["studies"], None, None))

    def study(self, number: int, name: str) -> TheirStudy:
        """One study with its trials."""
        directions = self._rows("study_directions", self._columns["study_directions"], "study_id", number)
        with understanding(self._place, f"the study {name!r}"):
            if not directions:
                raise ValueError("it has no direction")
            study = TheirStudy(name, [_DIRECTIONS[row.direction] for row in directions])
            for table, attrs in (
                ("study_user_attributes", study.user_attrs), ("study_system_attributes", study.system_attrs),
            ):  # fmt: skip
                for row in self._rows(table, self._columns[table], "study_id", number):
                    attrs[row.key] = json.loads(row.value_json)
        trials = self._trials(number, name)
        self._fill(trials, number, name)
        for rank, trial in enumerate(sorted(trials.values(), key=lambda t: (t.complete or 0, t.number))):
            trial.order = (rank, trial.number)
        study.trials = list(trials.values())
        return study

    def _trials(self, study: int, name: str) -> dict[int, TheirTrial]:
        trials: dict[int, TheirTrial] = {}
        for row in self._rows("trials", self._columns["trials"], "study_id", study):
            with understanding(self._place, f"trial {row.number} of the study {name!r}"):
                trials[row.trial_id] = TheirTrial.read(
                    int(row.number), row.state, row.datetime_start, row.datetime_complete, utc=self._utc
                )
        return trials

    def _fill(self, trials: dict[int, TheirTrial], study: int, name: str) -> None:
        """Read what belongs to the trials, table by table."""
        takers: dict[str, Callable[[TheirTrial, Any], None]] = {
            "trial_user_attributes": _user_attr, "trial_system_attributes": _system_attr, "trial_params": self._param,
            "trial_values": _value, "trial_intermediate_values": _report,
        }  # fmt: skip
        for table, take in takers.items():
            for row in self._rows(table, self._columns[table], "trial_id", study):
                trial = trials[row.trial_id]
                with understanding(self._place, f"trial {trial.number} of the study {name!r} ({table})"):
                    take(trial, row)

    def _param(self, trial: TheirTrial, row: Any) -> None:
        trial.set_param(row.param_name, self._distributions.read(row.distribution_json), row.param_value)


def _user_attr(trial: TheirTrial, row: Any) -> None:
    trial.user_attrs[row.key] = json.loads(row.value_json)


def _system_attr(trial: TheirTrial, row: Any) -> None:
    trial.system_attrs[row.key] = json.loads(row.value_json)


def _value(trial: TheirTrial, row: Any) -> None:
    trial.values = [*(trial.values or ()), _number(row.value, getattr(row, "value_type", None))]


def _report(trial: TheirTrial, row: Any) -> None:
    trial.report(row.step, _number(row.intermediate_value, getattr(row, "intermediate_value_type", None)))


def _number(value: float | None, kind: str | None) -> float:
    """A stored float, NaN for NULL. Schemas before 3.0 have no ``kind``: infinities were cut to the largest float32."""
    if kind not in (None, "FINITE"):
        return _SPECIAL[kind]
    if value is None:
        return float("nan")
    if kind is None and math.isclose(abs(value), _LARGEST, rel_tol=1e-5):
        return math.copysign(float("inf"), value)
    return float(value)
