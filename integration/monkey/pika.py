# /// script
# dependencies = ["pika>=1.3"]
#
# [tool.hubbub]
# programs = ["rabbitmq-server", "epmd"]
# debian = ["rabbitmq-server"]
# ///
"""pika over RabbitMQ: messages that arrive late, and consumers that wait for them over connections of their own."""

import hubbub_monkey

hubbub_monkey.patch_all()

import pika
from trial.overlap import overlap
from trial.rabbitmq import rabbitmq
from trial.servers import HOST


def receive(number: int) -> bytes:
    """Publishes a message that the server holds back for a while, and waits until it is delivered."""
    with pika.BlockingConnection(pika.ConnectionParameters(HOST, port)) as connection:
        channel = connection.channel()
        name = f"queue-{number}"
        channel.queue_declare(name, exclusive=True)
        # A message that gets too old in the first queue moves to the second.
        letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name, "x-message-ttl": 200}
        channel.queue_declare(f"late-{number}", exclusive=True, arguments=letters)
        channel.basic_publish("", f"late-{number}", str(number).encode())
        for _method, _properties, body in channel.consume(name, auto_ack=True, inactivity_timeout=20):
            channel.cancel()
            return body
    raise AssertionError("no message")


with rabbitmq() as port:
    done = overlap(receive)
    assert done.results == [str(number).encode() for number in range(20)]
print(f"delayed messages: {done}")
