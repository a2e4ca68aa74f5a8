"""A place of its own on a test server for each folder, so that the conformance kit can be run on it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import sqlalchemy as sa

from tunesmith.exceptions import MissingDependencyError
from tunesmith.storages._urls import parse_url

_made: set[tuple[str, str]] = set()


def server_for_testing(database: str, directory: Path) -> sa.URL:
    """The URL of a schema (PostgreSQL) or a database (MySQL) that belongs to a folder; it is made if need be.

    Raises:
        MissingDependencyError: No environment variable says where the server is.
    """
    variable = f"TUNESMITH_TEST_{database.upper()}"
    address = os.environ.get(variable)
    if not address:
        raise MissingDependencyError(
            f"There is no {database} server for tests: set {variable} to the URL of one whose user may make schemas."
        )
    _, url = parse_url(address)
    name = "t" + hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:24]
    if (address, name) not in _made:
        _make(url, name)
        _made.add((address, name))
    if database == "mysql":
        return url.set(database=name)
    return url.update_query_dict({"options": f"-csearch_path={name}"})


def _make(url: sa.URL, name: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        if url.drivername.startswith("mysql"):
            connection.exec_driver_sql(f"CREATE DATABASE IF NOT EXISTS {name}")
            return
        connection.exec_driver_sql("BEGIN")  # IF NOT EXISTS alone fails when two do it at once
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(1)")
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {name}")
        connection.exec_driver_sql("COMMIT")
