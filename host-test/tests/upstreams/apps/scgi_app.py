"""An SCGI server on the Unix socket in argv[1]."""

import asyncio
import sys

from cgi_environment import seen


async def answer(reader, writer):
    # A netstring: `LENGTH:NAME\0VALUE\0...,`
    length = int((await reader.readuntil(b":"))[:-1])
    words = (await reader.readexactly(length)).decode("latin-1").split("\0")
    variables = list(zip(words[0::2], words[1::2]))
    await reader.readexactly(1 + int(dict(variables)["CONTENT_LENGTH"] or 0))
    body = seen(variables)
    head = f"Status: 200\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()


async def main():
    async with await asyncio.start_unix_server(answer, sys.argv[1]) as server:
        await server.serve_forever()


asyncio.run(main())
