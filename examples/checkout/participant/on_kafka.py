"""Commands and replies on Kafka: a record's key is the saga's id, attributes are headers that begin with `ce_`."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from desk import say
from message import DEAD

BATCH = 64
# Errors of the record, not of the broker: trying again is of no use.
FINAL = {
    KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_EXCEPTION, KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_AUTHORIZATION_FAILED,
}


def serve(address, step, desk, stopped):
    topic = address.prefix + step
    # The topic is part of the group's name.
    group = f"{topic}.{step}"
    common = {
        "bootstrap.servers": ",".join(address.hosts),
        "client.id": "participant",
        "allow.auto.create.topics": False,
        "topic.metadata.refresh.interval.ms": 10_000,
    }
    if address.user:
        common |= {
            "security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN",
            "sasl.username": address.user, "sasl.password": address.password or "",
        }
    # A reply that is there twice is one, so nothing but `acks` is needed. The partitioner is that of Kafka's own clients.
    producer = Producer(common | {"acks": "all", "partitioner": "murmur2_random", "linger.ms": 1})
    consumer = Consumer(common | {
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        # One that was killed is in the way of its successor for no longer.
        "session.timeout.ms": 10_000,
        # The members of one group must agree, and those in Rust have this one.
        "partition.assignment.strategy": "cooperative-sticky",
    })
    try:
        while not is_declared(consumer, topic):
            if stopped.wait(0.5):
                return
        # Members in Rust put off to the second one what they try again. Early is as good as late here, so its times are not waited for.
        consumer.subscribe([topic, f"{group}.retry"])
        while not stopped.is_set():
            records = [record for record in consumer.consume(BATCH, timeout=0.5) if is_record(record)]
            if records and settle(records, producer, step, address.prefix, f"{group}.dlq", desk, stopped):
                commit(consumer, records)
    finally:
        consumer.close()


def is_declared(consumer, topic):
    """Whoever declares a group commits its first offsets, and cannot once it has a member."""
    try:
        partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
        places = [TopicPartition(topic, partition) for partition in partitions]
        return bool(places) and any(place.offset >= 0 for place in consumer.committed(places, timeout=5))
    except KafkaException as error:
        say(f"Kafka does not tell of topic {topic}: {error}")
        return False


def is_record(record):
    if record.error():
        # The client finds its way back by itself.
        say(f"Kafka: {record.error()}")
    return not record.error()


def settle(records, producer, step, prefix, dead_topic, desk, stopped):
    """Answers commands, and returns whether the brokers have every answer."""
    owed = []
    for record in records:
        answer = desk.answer(attributes_of(record), record.value() or b"")
        if answer.reply:
            owed.append((prefix + answer.reply.topic, reply(answer.reply), dead_letter(record, step, "its reply cannot be sent")))
        if answer.dead:
            say(f"put with the dead letters: {answer.dead}")
            owed.append((dead_topic, dead_letter(record, step, answer.dead), None))
    while owed := produce(owed, producer, dead_topic):
        if stopped.wait(1):
            return False
    return True


def produce(owed, producer, dead_topic):
    """Sends, and returns what the brokers do not have."""
    again = []

    def answered(item, error):
        if error is None:
            return
        topic, _, otherwise = item
        say(f"Kafka did not take a message for {topic}: {error}")
        is_final = otherwise and error.code() in FINAL
        again.append((dead_topic, otherwise, None) if is_final else item)

    for item in owed:
        topic, record, _ = item
        try:
            producer.produce(topic, **record, on_delivery=lambda error, _, item=item: answered(item, error))
        except (KafkaException, BufferError) as error:
            answered(item, error.args[0] if isinstance(error, KafkaException) else KafkaError(KafkaError._QUEUE_FULL))
    # Until each has its answer; that comes, for one that cannot be sent it is an error.
    while producer.flush(1):
        pass
    return again


def commit(consumer, records):
    """Only now: rows and replies are durable."""
    try:
        # Of each partition the last, since it has been read in order; the call takes the offset after it.
        for last in {(record.topic(), record.partition()): record for record in records}.values():
            consumer.commit(message=last, asynchronous=False)
    except KafkaException as error:
        # Whoever has the partition now gets them again, and the barrier answers the same.
        say(f"Kafka did not take note of what is done: {error}")


def headers_of(record):
    return [(name, (value or b"").decode(errors="replace")) for name, value in record.headers() or []]


def attributes_of(record):
    headers = headers_of(record)
    attributes = {name.removeprefix("ce_"): value for name, value in headers if name.startswith("ce_")}
    return attributes | {"datacontenttype": value for name, value in headers if name == "content-type"}


def reply(reply):
    headers = [
        ("content-type" if name == "datacontenttype" else f"ce_{name}", value) for name, value in reply.attributes.items()
    ]
    return {"key": reply.key, "headers": headers, "value": reply.body}


def dead_letter(record, step, why):
    """The record as it came, with the evidence."""
    headers = headers_of(record)
    if "ce_id" not in dict(headers):
        headers.append(("ce_id", f"{record.topic()}/{record.partition()}/{record.offset()}"))
    attempts = dict(headers).get("saga-attempt", "1")
    added = [(f"ce_{name}", value) for name, value in zip(DEAD, (why, step, step))]
    added += [("saga-dead-attempts", attempts), ("saga-dead-at", str(time.time_ns() // 1_000_000))]
    earlier = {name for name, _ in added} | {"saga-attempt", "saga-not-before"}
    kept = [(name, value) for name, value in headers if name not in earlier]
    return {"key": record.key(), "headers": kept + added, "value": record.value()}
