"""Commands and replies on RabbitMQ: a topic of commands is a queue, attributes are headers that begin with `cloudEvents:`."""

import time

import pika
from pika.exceptions import AMQPError, UnroutableError

from desk import say
from message import DEAD

PREFETCH = 64
PERSISTENT = 2
# As they are written, and as others may write them.
ATTRIBUTES = ("cloudEvents:", "cloudEvents_")
SERVERS_OWN = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")


def serve(address, step, desk, stopped):
    while not stopped.is_set():
        try:
            with pika.BlockingConnection(places(address)) as connection:
                session(connection.channel(), address.prefix, step, desk, stopped)
        except (AMQPError, OSError) as error:
            # Also where the server takes no reply: what is not acknowledged comes again, and the barrier answers the same.
            say(f"RabbitMQ at {address} is away: {error!r}")
            stopped.wait(1)


def places(address):
    login = pika.PlainCredentials(address.user or "guest", address.password or ("" if address.user else "guest"))
    more = {"virtual_host": address.path or "/", "credentials": login, "heartbeat": 10, "blocked_connection_timeout": 60}
    hosts = [host.partition(":") for host in address.hosts]
    return [pika.ConnectionParameters(host=name, port=int(port or 5672), **more) for name, _, port in hosts]


def session(channel, prefix, step, desk, stopped):
    queue = prefix + step
    # A publish returns when the server has the message.
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=PREFETCH)
    for delivery, properties, body in channel.consume(queue, inactivity_timeout=0.5):
        if stopped.is_set():
            # What is not acknowledged goes to another, or waits.
            return
        if delivery is None:
            continue
        answer = desk.answer(attributes_of(properties), body)
        dead = answer.dead
        if answer.reply:
            try:
                publish(channel, prefix + answer.reply.topic, answer.reply.body, reply_properties(answer.reply))
            except UnroutableError:
                dead = f"its reply cannot be sent: there is no queue {answer.reply.topic}"
        if dead:
            say(f"put with the dead letters: {dead}")
            publish(channel, f"{queue}.{step}.dlq", body, dead_properties(properties, step, dead))
        # Only now: row and reply are durable.
        channel.basic_ack(delivery.delivery_tag)


def publish(channel, queue, body, properties):
    """To this queue and no other: without `mandatory` a message to a queue that is not there would be lost."""
    channel.basic_publish("", queue, body, properties, mandatory=True)


def attributes_of(properties):
    attributes = {"datacontenttype": properties.content_type} if properties.content_type else {}
    for name, value in (properties.headers or {}).items():
        for prefix in ATTRIBUTES:
            if name.startswith(prefix):
                attributes[name.removeprefix(prefix)] = str(value)
    return attributes


def reply_properties(reply):
    named = {f"{ATTRIBUTES[0]}{name}": value for name, value in reply.attributes.items() if name != "datacontenttype"}
    return pika.BasicProperties(
        content_type=reply.attributes["datacontenttype"],
        delivery_mode=PERSISTENT,
        message_id=short(reply.attributes["id"]),
        timestamp=int(time.time()),
        headers=named | {f"{ATTRIBUTES[0]}partitionkey": reply.key},
    )


def short(text):
    """A property holds no more; the header has the whole."""
    return text if len(text.encode()) <= 255 else None


def dead_properties(properties, step, why):
    """The properties as they came, with the evidence, and without what the server and the adapters in Rust had added."""
    headers = properties.headers or {}
    added = {f"{ATTRIBUTES[0]}{name}": value for name, value in zip(DEAD, (why, step, step))}
    attempts = int(headers.get("saga-attempt", 1)) + int(headers.get("x-delivery-count", 0))
    added |= {"saga-dead-attempts": str(attempts), "saga-dead-at": str(time.time_ns() // 1_000_000)}
    kept = {
        name: value
        for name, value in headers.items()
        if not name.startswith(SERVERS_OWN) and (name.startswith("saga-encoded-") or not name.startswith("saga-"))
    }
    # The server would hold the user against ours, and let a letter that has lived go.
    properties.user_id = properties.expiration = None
    properties.delivery_mode = PERSISTENT
    properties.headers = kept | added
    return properties
