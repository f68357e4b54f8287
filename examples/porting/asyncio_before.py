"""What does each server say first? ``python asyncio_before.py 127.0.0.1:22 ...``."""

import asyncio
import sys


async def greeting(limit, host, port):
    """The first line of a server, or why there is none."""
    async with limit:
        try:
            async with asyncio.timeout(3):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    return (await reader.readline()).decode().strip()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            return type(error).__name__


async def main(addresses):
    """Ask all, ten at a time."""
    limit = asyncio.Semaphore(10)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(greeting(limit, *address.rsplit(":", 1))) for address in addresses]
    for address, task in zip(addresses, tasks, strict=True):
        print(address, task.result())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
