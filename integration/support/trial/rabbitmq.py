"""RabbitMQ for the length of a block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from trial.servers import HOST, answers, as_user, free_port, scratch, server

__all__ = ["rabbitmq"]

# Debian's rabbitmq-server on PATH is for its service alone.
_PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"


@contextmanager
def rabbitmq() -> Iterator[int]:
    """RabbitMQ, with its user ``guest``; its port. Debian: ``rabbitmq-server``."""
    port, names, nodes = free_port(), free_port(), free_port()
    options = as_user("rabbitmq")
    with scratch(options) as folder:
        settings = {
            "HOME": folder,
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": names,
            "RABBITMQ_NODENAME": "trial@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": port,
            "RABBITMQ_DIST_PORT": nodes,
            "RABBITMQ_MNESIA_BASE": folder / "data",
            "RABBITMQ_LOG_BASE": folder / "log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
            "RABBITMQ_CONF_ENV_FILE": folder / "settings",
        }
        for name in ("data", "log"):
            (folder / name).mkdir()
            os.chown(folder / name, options.get("user", -1), options.get("group", -1))
        options["env"] = os.environ | {name: str(value) for name, value in settings.items()}
        # Erlang would start its name server by itself, and leave it behind.
        with (
            server(["epmd"], lambda: answers(names), folder=folder, **options),
            server([_PROGRAM], lambda: answers(port), folder=folder, **options),
        ):
            yield port
