"""The file of an agent's commands: one SQLite database, used by one thread. No asyncio here."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from vcloud.errors import ConfigurationError
from vcloud.providers.streamspace.agent.remembering.opening import (
    explained,
    locked_database,
    release,
)

__all__ = ["Began", "Change", "CommandStore", "Ended", "Remembered", "Reported", "storable"]

#: In SQLite's ``application_id``, so that the file of another program is refused: "VCag".
_APPLICATION: Final = 0x56436167
_VERSION: Final = 1
#: How many sessions are kept; the oldest that are over go first.
MAX_SESSIONS: Final = 4096
_TABLES: Final = (
    "CREATE TABLE agent (id TEXT NOT NULL)",
    # The key as it is sent: two commands may have the same id.
    """CREATE TABLE commands (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL,
    kind TEXT NOT NULL, session TEXT NOT NULL, completed INTEGER, UNIQUE (id, kind, session))""",
    """CREATE TABLE sessions (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL, pod_name TEXT, vnc_port INTEGER)""",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)


class Began(NamedTuple):
    """A command is carried out from now on."""

    id: str
    kind: str
    session_id: str


class Ended(NamedTuple):
    """A command was carried out."""

    id: str
    kind: str
    session_id: str
    completed: bool


class Reported(NamedTuple):
    """A session has a state."""

    session_id: str
    state: str
    pod_name: str | None
    vnc_port: int | None


Change = Began | Ended | Reported


class Remembered(NamedTuple):
    """What the file holds.

    Attributes:
        commands: those that were carried out, the oldest first.
        unfinished: those that were in flight when their process was killed.
        sessions: the last state of each session.
    """

    commands: Sequence[Ended]
    unfinished: Sequence[Began]
    sessions: Sequence[Reported]


class CommandStore:
    """An open file. It cannot be opened a second time, in this process or another.

    Args:
        path: the file. It is made if it does not exist, for its owner alone.
        agent_id: the agent that it belongs to.
        max_commands: how many commands are kept.

    Raises:
        ConfigurationError: it is in use, damaged, another agent's, or not this user's alone; or it
            cannot be made.
    """

    def __init__(self, path: Path, agent_id: str, max_commands: int) -> None:
        self._path = path
        try:
            self.database: sqlite3.Connection = locked_database(path)
        except sqlite3.Error as error:
            raise explained(path, error) from None
        try:
            self._open(agent_id)
            self._prune(max_commands)
            self.remembered: Remembered = self._read()
        except sqlite3.Error as error:
            release(self._path, self.database)
            raise explained(path, error) from None
        except BaseException:
            release(self._path, self.database)
            raise

    def write(self, changes: Sequence[Change]) -> None:
        """Write all changes, or none.

        Raises:
            sqlite3.Error: that failed; the disk is full, for example.
        """
        run = self.database.execute
        run("BEGIN IMMEDIATE")
        try:
            for change in changes:
                match change:
                    case Began():
                        run(
                            "INSERT OR IGNORE INTO commands (id, kind, session) VALUES (?, ?, ?)",
                            [storable(text) for text in change],
                        )
                    case Ended(completed=completed):
                        run(
                            "INSERT OR REPLACE INTO commands (id, kind, session, completed) "
                            "VALUES (?, ?, ?, ?)",
                            (*map(storable, change[:3]), completed),
                        )
                    case Reported(pod_name=pod):
                        pod = None if pod is None else storable(pod)
                        run(
                            "INSERT OR REPLACE INTO sessions (id, state, pod_name, vnc_port) "
                            "VALUES (?, ?, ?, ?)",
                            (storable(change.session_id), change.state, pod, change.vnc_port),
                        )
            run("COMMIT")
        except BaseException:
            if self.database.in_transaction:
                run("ROLLBACK")
            raise

    def close(self, changes: Sequence[Change] = ()) -> None:
        """Write the last changes, and close the file.

        Raises:
            sqlite3.Error: they could not be written.
        """
        try:
            if changes:
                self.write(changes)
        finally:
            release(self._path, self.database)

    def _open(self, agent_id: str) -> None:
        """Check the file, or make its tables. It is in a transaction."""
        run = self.database.execute
        application = run("PRAGMA application_id").fetchone()[0]
        version = run("PRAGMA user_version").fetchone()[0]
        if not application and not run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for table in _TABLES:
                run(table)
            run("INSERT INTO agent VALUES (?)", [storable(agent_id)])
        elif application != _APPLICATION or version != _VERSION:
            raise ConfigurationError(
                f"remember={str(self._path)!r} is another program's file, or a later version's: "
                "give another path"
            )
        run("COMMIT")
        verdict = run("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise ConfigurationError(f"remember={str(self._path)!r} is damaged: {verdict}")
        (owner,) = run("SELECT id FROM agent").fetchone()
        if [owner] != [storable(agent_id)]:
            raise ConfigurationError(
                f"remember={str(self._path)!r} is the file of agent {owner}: give agent "
                f"{agent_id} a file of its own"
            )

    def _prune(self, max_commands: int) -> None:
        run = self.database.execute
        try:
            run(
                "DELETE FROM commands WHERE number <= (SELECT max(number) FROM commands) - ?",
                (max_commands,),
            )
            run(
                "DELETE FROM sessions WHERE number IN (SELECT number FROM sessions ORDER BY "
                "state IN ('terminated', 'failed'), number DESC LIMIT -1 OFFSET ?)",
                (MAX_SESSIONS,),
            )
        except sqlite3.OperationalError:
            # The disk is full: what is left over does no harm.
            if self.database.in_transaction:
                run("ROLLBACK")

    def _read(self) -> Remembered:
        run = self.database.execute
        commands, unfinished = [], []
        for id, kind, session, completed in run(
            "SELECT id, kind, session, completed FROM commands ORDER BY number"
        ):
            if completed is None:
                unfinished.append(Began(id, kind, session))
            else:
                commands.append(Ended(id, kind, session, bool(completed)))
        sessions = [
            Reported(*row)
            for row in run("SELECT id, state, pod_name, vnc_port FROM sessions ORDER BY number")
        ]
        return Remembered(commands, unfinished, sessions)


def storable(text: str) -> str:
    """A text as SQLite takes it, which must be valid unicode."""
    return text.encode("utf-8", "backslashreplace").decode()
