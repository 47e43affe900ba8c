"""One row for each run and step: with it, commands that come twice, late or in the wrong order have the effect of once."""

import json
import sqlite3
from dataclasses import astuple, dataclass, fields
from datetime import datetime, timezone


class Rejected(Exception):
    """The work refuses, and has had no effect."""


@dataclass
class Row:
    # The highest round that was acted on.
    round: int = 0
    # In which round it was executed last; 0 is never.
    executed: int = 0
    # How that went: succeeded, rejected or failed.
    verdict: str | None = None
    body: str = ""
    # undone or undo-failed; from then on it is never executed.
    undo: str | None = None
    undo_round: int = 0
    undo_body: str = ""
    # The round of the last fence; 0 is none.
    fence: int = 0
    fence_verdict: str | None = None
    fence_body: str = ""
    # It may have had an effect that no verdict here tells of.
    doubt: int = 0


@dataclass
class Answered:
    verdict: str
    body: str = ""
    # Why the command is worth somebody's look as well.
    dead: str | None = None


NAMES = [field.name for field in fields(Row)]


class Barrier:
    def __init__(self, path, work):
        self.work = work
        self.db = sqlite3.connect(path, isolation_level=None, timeout=30)
        # A commit is on the disk when it returns, after one write of the log.
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute(
            f"CREATE TABLE IF NOT EXISTS barrier (run TEXT, step TEXT, {', '.join(NAMES)}, PRIMARY KEY (run, step))"
        )
        # Of what was sent before the table was there, a missing row proves nothing.
        self.db.execute("CREATE TABLE IF NOT EXISTS horizon (one INTEGER PRIMARY KEY CHECK (one = 1), since TEXT)")
        self.db.execute("INSERT INTO horizon VALUES (1, ?) ON CONFLICT DO NOTHING", (datetime.now(timezone.utc).isoformat(),))
        (since,) = self.db.execute("SELECT since FROM horizon").fetchone()
        self.since = datetime.fromisoformat(since)
        work.create(self.db)

    def answer(self, command):
        """The verdict, or None if the command is of a round that is over. Effect and row commit together, before any reply is sent."""
        # The lock is taken before the row is read, so that two processes on one file never meet on a row.
        self.db.execute("BEGIN IMMEDIATE")
        try:
            row = self.row(command)
            answered = {"execute": self.execute, "undo": self.undo, "fence": self.fence}[command.action](row, command)
            self.keep(row, command)
            self.db.execute("COMMIT")
            return answered
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    def execute(self, row, command):
        # A success is final for all rounds, a failure only for its own.
        if row.verdict == "succeeded":
            return Answered(row.verdict, row.body)
        if command.round < row.round:
            return None
        row.round = command.round
        if row.undo or row.fence >= command.round:
            if row.verdict:
                return Answered(row.verdict, row.body)
            return Answered("failed" if row.doubt else "rejected", reason("it was undone or fenced before it ran"))
        if row.verdict and row.executed == command.round:
            return Answered(row.verdict, row.body)
        # A later round: an operator tries again, and opens what an earlier one had fenced.
        row.fence, row.fence_verdict, row.fence_body = 0, None, ""
        row.doubt |= not row.executed and command.sent_at < self.since
        row.executed = command.round
        error = self.attempt(lambda: self.done(row, command))
        if error is None:
            return Answered(row.verdict, row.body)
        # It was rolled back, so it had no effect; but an attempt whose row was lost may have had one.
        row.verdict, row.body = "failed" if row.doubt else "rejected", reason(said(error))
        return Answered(row.verdict, row.body, dead=None if isinstance(error, Rejected) else said(error))

    def done(self, row, command):
        row.body = json.dumps(self.work.execute(self.db, command))
        row.verdict = "succeeded"

    def undo(self, row, command):
        if row.undo == "undone":
            return Answered("undone")
        if command.round < row.round or row.fence >= command.round:
            return None
        if row.undo and row.undo_round == command.round:
            return Answered(row.undo, row.undo_body)
        row.round = row.undo_round = command.round
        row.fence, row.fence_verdict, row.fence_body = 0, None, ""
        row.undo, row.undo_body, error = "undone", "", None
        refused = row.verdict == "rejected" and command.known != "succeeded"
        if not refused and not self.never_ran(row, command):
            row.doubt |= not row.executed
            error = self.attempt(lambda: self.work.undo(self.db, command))
        if error is None:
            return Answered(row.undo)
        row.undo, row.undo_body = "undo-failed", reason(said(error))
        return Answered(row.undo, row.undo_body, dead=said(error))

    def fence(self, row, command):
        if row.fence == command.round:
            return Answered(row.fence_verdict, row.fence_body)
        if command.round < row.round:
            return None
        row.fence_verdict, row.fence_body = self.what_happened(row, command)
        row.doubt |= not row.executed and row.fence_verdict != "no-effect"
        row.round = row.fence = command.round
        return Answered(row.fence_verdict, row.fence_body)

    def what_happened(self, row, command):
        if row.undo:
            return ("no-effect", "") if row.undo == "undone" else ("unknown", "")
        if row.verdict == "succeeded":
            return "done", row.body
        if row.verdict == "rejected" or (row.verdict is None and self.never_ran(row, command)):
            return "no-effect", ""
        if row.verdict is None and command.known == "succeeded" and command.output is not None:
            return "done", command.output
        return "unknown", ""

    def never_ran(self, row, command):
        """Whether the row's silence proves it: not if the row may have been lost, nor if the coordinator has heard otherwise."""
        return not row.executed and not row.doubt and command.known == "unknown" and command.sent_at >= self.since

    def attempt(self, work):
        """Runs it, and returns what went wrong; then nothing of it remains."""
        self.db.execute("SAVEPOINT work")
        try:
            work()
        except sqlite3.OperationalError:
            raise
        except Exception as error:
            self.db.execute("ROLLBACK TO work")
            return error
        self.db.execute("RELEASE work")
        return None

    def row(self, command):
        found = self.db.execute(
            f"SELECT {', '.join(NAMES)} FROM barrier WHERE run = ? AND step = ?", (command.run, command.step)
        ).fetchone()
        return Row(*found) if found else Row()

    def keep(self, row, command):
        # For ever: whoever prunes rows moves the horizon to the youngest of those that went.
        values = (command.run, command.step, *astuple(row))
        self.db.execute(f"INSERT OR REPLACE INTO barrier VALUES ({', '.join('?' * len(values))})", values)


def said(error):
    return str(error) if isinstance(error, Rejected) else repr(error)


def reason(text):
    return json.dumps({"reason": text})
