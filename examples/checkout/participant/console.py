"""Places an order as a console producer does, bare: JSON without any header, key or id. Ends when the order is announced as complete.

    python examples/checkout/participant/console.py 'kafka://localhost:9092?prefix=demo.' \
        '{"event":"order-placed","order_id":"1","customer_id":"c","items":[{"product_id":"p001","quantity":2}]}'
"""

import asyncio
import importlib
import json
import sys

from address import Address

PLACED, COMPLETE = "order-placed", "order-complete"


def kafka(address, line, is_it):
    client = importlib.import_module("confluent_kafka")
    common = {"bootstrap.servers": ",".join(address.hosts), "group.id": "console", "enable.auto.commit": False}
    consumer = client.Consumer(common)
    topic = address.prefix + COMPLETE
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([client.TopicPartition(topic, partition, client.OFFSET_BEGINNING) for partition in partitions])
    producer = client.Producer({"bootstrap.servers": common["bootstrap.servers"], "allow.auto.create.topics": False})
    producer.produce(address.prefix + PLACED, line, on_delivery=lambda error, _: error and sys.exit(f"not placed: {error}"))
    producer.flush()
    while True:
        record = consumer.poll(1)
        if record and not record.error() and is_it(record.value()):
            return consumer.close()


def rabbit(address, line, is_it):
    from on_rabbit import places

    client = importlib.import_module("pika")
    with client.BlockingConnection(places(address)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        news = channel.queue_declare("", exclusive=True).method.queue
        # A topic of events is an exchange.
        channel.queue_bind(news, address.prefix + COMPLETE)
        channel.basic_publish(address.prefix + PLACED, "", line, mandatory=True)
        for _, _, body in channel.consume(news, auto_ack=True):
            if is_it(body):
                return


def nats(address, line, is_it):
    async def place():
        client = await importlib.import_module("nats").connect([f"nats://{host}" for host in address.hosts])
        news = await client.subscribe(address.prefix + COMPLETE)
        await client.jetstream().publish(address.prefix + PLACED, line)
        async for message in news.messages:
            if is_it(message.data):
                return await client.close()

    asyncio.run(place())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    address, line = Address.parse(sys.argv[1]), sys.argv[2]
    order = json.loads(line)["order_id"]
    place = {"kafka": kafka, "amqp": rabbit, "nats": nats}[address.scheme]
    place(address, line.encode(), lambda payload: json.loads(payload)["order_id"] == order)
    print(f"order {order} is complete")


main()
