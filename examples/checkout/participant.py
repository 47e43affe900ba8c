"""The sub-case `send-confirmation` in Python, in the place of `--role confirmation`. docs/wire.md says what it must do, and why.

    pip install -r requirements.txt
    python participant.py 'nats://localhost:4222?prefix=demo.' confirmation.db

Ctrl-C or SIGTERM ends it; then it prints its report as JSON. The coordinator must have been started once before it: that declares the
topics. One process only: it works on one command at a time, so no two ever meet on one row.
"""

import asyncio
import json
import signal
import sqlite3
import sys
from urllib.parse import parse_qs, quote, unquote, urlsplit

import nats

STEP = "send-confirmation"


class Barrier:
    """One row for each run and step: with it, commands that come twice, late or in the wrong order have the effect of once."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS barrier (run TEXT, step TEXT, verdict TEXT, body TEXT, sealed INTEGER NOT NULL,"
            " PRIMARY KEY (run, step))"
        )
        self.db.execute("CREATE TABLE IF NOT EXISTS mails (run TEXT PRIMARY KEY, order_id TEXT, cancelled INTEGER NOT NULL)")

    def answer(self, ce, order):
        """The verdict and the reply's body. Effect and row commit together, before any reply is sent."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            answer = {"execute": self.execute, "undo": self.undo, "fence": self.fence}[ce["action"]](ce, order)
            self.db.execute("COMMIT")
            return answer
        except BaseException:
            self.db.execute("ROLLBACK")
            raise

    def execute(self, ce, order):
        row = self.row(ce)
        if row and row[0]:
            return row[0], row[1]
        if row:
            return "rejected", json.dumps({"reason": "it was undone or fenced before it ran"})
        self.db.execute("INSERT INTO mails VALUES (?, ?, 0)", (ce["run"], order["order_id"]))
        body = json.dumps({"event": "confirmation-sent", "order_id": order["order_id"], "status": "success"})
        self.db.execute("INSERT INTO barrier VALUES (?, ?, 'succeeded', ?, 0)", (ce["run"], ce["step"], body))
        return "succeeded", body

    def undo(self, ce, _):
        # Nothing was sent: nothing is cancelled. Undone twice: cancelled once.
        self.db.execute("UPDATE mails SET cancelled = 1 WHERE run = ?", (ce["run"],))
        self.seal(ce)
        return "undone", ""

    def fence(self, ce, _):
        row = self.row(ce)
        cancelled = self.db.execute("SELECT cancelled FROM mails WHERE run = ?", (ce["run"],)).fetchone()
        self.seal(ce)
        if row and row[0] == "succeeded" and cancelled == (0,):
            return "done", row[1]
        return "no-effect", ""

    def row(self, ce):
        found = self.db.execute("SELECT verdict, body FROM barrier WHERE run = ? AND step = ?", (ce["run"], ce["step"]))
        return found.fetchone()

    def seal(self, ce):
        self.db.execute(
            "INSERT INTO barrier VALUES (?, ?, NULL, NULL, 1) ON CONFLICT DO UPDATE SET sealed = 1", (ce["run"], ce["step"])
        )

    def report(self):
        standing = [id for (id,) in self.db.execute("SELECT order_id FROM mails WHERE cancelled = 0 ORDER BY order_id")]
        holds = {"orders": len(standing)} if standing else {}
        return {"sub_case": STEP, "standing": standing, "holds": holds}


def reply_to(ce, verdict):
    """The attributes of a reply: it echoes what it answers."""
    reply = {name: ce[name] for name in ("subject", "saga", "run", "step", "action", "round")}
    if "traceparent" in ce:
        reply["traceparent"] = ce["traceparent"]
    return reply | {
        "id": f"{ce['run']}/{ce['step']}/{ce['action']}/{ce['round']}/reply",
        "specversion": "1.0",
        "type": "saga.reply",
        "source": "/checkout/participant.py",
        "datacontenttype": "application/json",
        "partitionkey": ce["subject"],
        "verdict": verdict,
    }


async def serve(url, barrier, stopped):
    parts = urlsplit(url)
    prefix = parse_qs(parts.query).get("prefix", [""])[0]
    client = await nats.connect(f"nats://{parts.netloc}", max_reconnect_attempts=-1)
    stream = client.jetstream(timeout=10)
    # The stream and its one durable consumer are there: names have `=` where a topic has `.`.
    commands = await stream.pull_subscribe_bind(durable=STEP, stream=f"{prefix}{STEP}".replace(".", "="))
    while not stopped.is_set():
        try:
            messages = await commands.fetch(16, timeout=1)
        except (asyncio.TimeoutError, nats.errors.Error):
            # Nothing to do, or the server is away for a moment.
            await asyncio.sleep(0.05)
            continue
        for message in messages:
            headers = {name.lower(): value for name, value in (message.headers or {}).items()}
            ce = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
            try:
                verdict, body = barrier.answer(ce, json.loads(message.data))
                reply = reply_to(ce, verdict)
                await stream.publish(
                    prefix + ce["replyto"],
                    body.encode(),
                    headers={f"ce-{name}": quote(value, safe="!#$&'()*+,/:;=?@[]<>{}|^`\\") for name, value in reply.items()},
                )
                # Only now: row and reply are durable.
                await message.ack()
            except (KeyError, ValueError) as error:
                # Nothing is dropped: whoever looks into the dead letters finds it, with the reason.
                print(f"not a command, put with the dead letters: {error!r}", file=sys.stderr)
                about = {"ce-deadreason": quote(repr(error)), "ce-deadtopic": STEP, "ce-deadgroup": STEP}
                await stream.publish(f"{prefix}{STEP}.{STEP}.dlq", message.data, headers=(message.headers or {}) | about)
                await message.ack()
            except nats.errors.Error as error:
                # It comes again, and the barrier answers the same.
                print(f"no reply was sent: {error!r}", file=sys.stderr)
    await client.close()


async def main():
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    barrier = Barrier(sys.argv[2])
    await serve(sys.argv[1], barrier, stopped)
    print(json.dumps(barrier.report()))


asyncio.run(main())
