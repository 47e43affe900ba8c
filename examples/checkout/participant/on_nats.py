"""Commands and replies on NATS JetStream: attributes are headers that begin with `ce-`, their values percent-encoded."""

import asyncio
from datetime import datetime, timezone
from urllib.parse import quote, unquote

import nats

from desk import say
from message import DEAD

BATCH = 16
AGAIN_AFTER_S = 1
# Of printable ASCII, the binding encodes only space, the double quote and `%`.
PLAIN = "!#$&'()*+,/:;=?@[]<>{}|^`\\"


def serve(address, step, desk, stopped):
    asyncio.run(run(address, step, desk, stopped))


async def run(address, step, desk, stopped):
    while not stopped.is_set():
        try:
            client = await nats.connect(
                [f"nats://{host}" for host in address.hosts],
                user=address.user, password=address.password, max_reconnect_attempts=-1, error_cb=told,
            )
        except (nats.errors.Error, OSError) as error:
            say(f"NATS at {address} is away: {error!r}")
            await asyncio.sleep(AGAIN_AFTER_S)
            continue
        # From here on the client connects again by itself.
        try:
            await session(client, address.prefix, step, desk, stopped)
        finally:
            await client.close()


async def told(error):
    say(f"NATS: {error!r}")


async def session(client, prefix, step, desk, stopped):
    stream = client.jetstream(timeout=10)
    subject = prefix + step
    # The stream and its one durable consumer are there: names have `=` where a topic has `.`.
    commands = await stream.pull_subscribe_bind(durable=entity(step), stream=entity(subject))
    while not stopped.is_set():
        try:
            messages = await commands.fetch(BATCH, timeout=1)
        except (asyncio.TimeoutError, nats.errors.Error):
            # Nothing to do, or the server is away for a moment.
            await asyncio.sleep(0.05)
            continue
        for message in messages:
            try:
                await settle(message, stream, prefix, step, desk)
            except nats.errors.Error as error:
                say(f"no reply was sent, so its command comes again: {error!r}")
                await give_back(message)


async def settle(message, stream, prefix, step, desk):
    answer = desk.answer(attributes_of(message), message.data)
    if answer.reply:
        headers = encoded(answer.reply.attributes | {"partitionkey": answer.reply.key})
        await stream.publish(prefix + answer.reply.topic, answer.reply.body, headers=headers)
    if answer.dead:
        say(f"put with the dead letters: {answer.dead}")
        await stream.publish(
            f"{prefix}{step}.{entity(step)}.dlq", message.data, headers=dead_headers(message, step, answer.dead)
        )
    # Only now: row and reply are durable.
    await message.ack()


async def give_back(message):
    try:
        await message.nak(AGAIN_AFTER_S)
    except nats.errors.Error:
        # Then it comes again when the server has waited for the acknowledgement in vain.
        pass


def entity(name):
    """As streams and consumers are called; a contract's name may have other letters, which are percent-encoded."""
    return quote(name, safe="").replace(".", "=").replace("~", "%7E")


def encoded(attributes):
    return {f"ce-{name}": quote(value, safe=PLAIN) for name, value in attributes.items()}


def attributes_of(message):
    headers = {name.lower(): value for name, value in (message.headers or {}).items()}
    return {name.removeprefix("ce-"): unquote(value) for name, value in headers.items() if name.startswith("ce-")}


def dead_headers(message, step, why):
    """The headers as they came, with the evidence; those of the server are its own."""
    added = encoded(dict(zip(DEAD, (why, step, step))))
    added |= {
        "saga-dead-attempts": str(message.metadata.num_delivered),
        "saga-dead-at": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.000Z}",
    }
    return {name: value for name, value in (message.headers or {}).items() if not name.startswith("Nats-")} | added
