"""The sub-case `send-confirmation` in Python, in the place of `--role confirmation`. docs/wire.md says what it must do, and why.

    pip install -r examples/checkout/participant/requirements.txt
    python examples/checkout/participant 'kafka://localhost:9092?prefix=demo.' confirmation.db

The URL is the one that the others get: kafka://, amqp:// or nats://. Ctrl-C or SIGTERM ends it; then it prints its report as JSON.
The coordinator must have been started once before it: that declares the topics. Python 3.11 or later.

`barrier.py` keeps commands that come twice, late or in the wrong order from doing harm, `confirmation.py` is the work itself, and
`on_kafka.py`, `on_rabbit.py` and `on_nats.py` bring commands and send replies.
"""

import importlib
import json
import signal
import sys
import threading

from address import Address
from barrier import Barrier
from confirmation import STEP, Confirmation
from desk import Desk

TRANSPORTS = {"kafka": "on_kafka", "amqp": "on_rabbit", "nats": "on_nats"}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    address = Address.parse(sys.argv[1])
    if address.scheme not in TRANSPORTS:
        sys.exit(f"{address.scheme}:// is none of {', '.join(TRANSPORTS)}")
    # Only the client of this broker must be installed.
    transport = importlib.import_module(TRANSPORTS[address.scheme])
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    barrier = Barrier(sys.argv[2], Confirmation())
    # The contract's name is the topic's, and the group's.
    transport.serve(address, STEP, Desk(barrier, stopped), stopped)
    print(json.dumps(barrier.work.report(barrier.db)))


main()
