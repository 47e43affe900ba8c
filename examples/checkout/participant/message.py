"""Commands and replies, whatever they travel on."""

import json
from dataclasses import dataclass
from datetime import datetime

# A dead letter that was put back and dies again tells of its last death.
DEAD = ("deadreason", "deadtopic", "deadgroup")


class Unreadable(Exception):
    """It is no command that could be answered."""


@dataclass
class Command:
    # CloudEvents attributes, without what the transport puts before their names.
    attributes: dict[str, str]
    body: bytes
    run: str
    step: str
    action: str
    round: int
    sent_at: datetime
    # What the coordinator knows of the step: succeeded, failed or unknown; and its output, if it knows that.
    known: str
    output: str | None

    @classmethod
    def read(cls, attributes, body):
        def need(name):
            if not attributes.get(name):
                raise Unreadable(f"the attribute {name} is missing")
            return attributes[name]

        def one_of(name, value, *allowed):
            if value not in allowed:
                raise Unreadable(f"the attribute {name} is {value!r}, and none of {', '.join(allowed)}")
            return value

        one_of("type", need("type"), "saga.command")
        for name in ("subject", "saga", "replyto"):
            need(name)
        try:
            number, sent_at = int(need("round")), datetime.fromisoformat(need("time"))
        except ValueError as error:
            raise Unreadable(f"an attribute is wrong: {error}") from error
        if number < 1 or sent_at.tzinfo is None:
            raise Unreadable("round counts from 1, and time has a zone")
        return cls(
            attributes=attributes,
            body=body,
            run=need("run"),
            step=need("step"),
            action=one_of("action", need("action"), "execute", "undo", "fence"),
            round=number,
            sent_at=sent_at,
            known=one_of("verdict", attributes.get("verdict", "unknown"), "succeeded", "failed", "unknown"),
            output=attributes.get("output"),
        )

    def input(self):
        """The step's input, as JSON."""
        return json.loads(self.body)


@dataclass
class Reply:
    topic: str
    key: str
    attributes: dict[str, str]
    body: bytes

    @classmethod
    def to(cls, command, verdict, body):
        """It echoes what it answers, and every copy of it has the same id."""
        asked = command.attributes
        echoed = ("subject", "saga", "run", "step", "action", "round", "traceparent")
        attributes = {
            "id": f"{command.run}/{command.step}/{command.action}/{command.round}/reply",
            "specversion": "1.0",
            "type": "saga.reply",
            "source": "/checkout/participant",
            "datacontenttype": "application/json",
            "verdict": verdict,
        }
        attributes |= {name: asked[name] for name in echoed if name in asked}
        return cls(topic=asked["replyto"], key=asked["subject"], attributes=attributes, body=body.encode())
