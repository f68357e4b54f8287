# /// script
# dependencies = ["aiosmtpd>=1.4"]
# ///
"""smtplib over aiosmtpd, which takes its time to accept a message."""

import hubbub_monkey

hubbub_monkey.patch_all()

import smtplib
from email.message import EmailMessage

from trial.overlap import overlap
from trial.servers import HOST, python_server

SERVER = """
import asyncio, sys
from aiosmtpd.smtp import SMTP

class Handler:
    async def handle_DATA(self, server, session, envelope):
        await asyncio.sleep(0.2)
        return f"250 got {len(envelope.rcpt_tos)} {len(envelope.content)}"

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler()), "", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
""".replace("HOST", HOST)


def send(number: int) -> bytes:
    """Sends a message to two; what the server says about a raw one."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org, c@example.org", str(number)
    message.set_content("hello\n" * 1000)
    with smtplib.SMTP(HOST, port) as client:
        assert client.send_message(message) == {}
        client.mail("a@example.org")
        client.rcpt("b@example.org")
        return client.data("hello\r\n")[1]


with python_server(SERVER) as port:
    done = overlap(send, each=0.4)
    assert done.results == [b"got 1 7"] * 20
print(f"two messages: {done}")
