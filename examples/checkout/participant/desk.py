"""From a message to what is to be sent for it, the same for every transport."""

import sqlite3
import sys
from dataclasses import dataclass

from message import Command, Reply, Unreadable


@dataclass
class Answer:
    # To be published before the command is acknowledged.
    reply: Reply | None = None
    # Why the command is to be put with the dead letters, before it is acknowledged.
    dead: str | None = None


class Desk:
    def __init__(self, barrier, stopped):
        self.barrier = barrier
        self.stopped = stopped

    def answer(self, attributes, body):
        """What a message leads to. When this returns, the effect and the verdict are durable."""
        try:
            command = Command.read(attributes, body)
        except Unreadable as error:
            return Answer(dead=str(error))
        answer = self.ask(command)
        if answer is None:
            # Of a round that is over: whoever sent it no longer listens.
            return Answer()
        return Answer(Reply.to(command, answer.verdict, answer.body), answer.dead)

    def ask(self, command):
        while True:
            try:
                return self.barrier.answer(command)
            except sqlite3.OperationalError as error:
                # A full disk, a lock that is held: nothing else could be done either, so it waits.
                say(f"the database is away: {error}")
                if self.stopped.wait(1):
                    raise


def say(text):
    print(text, file=sys.stderr, flush=True)
