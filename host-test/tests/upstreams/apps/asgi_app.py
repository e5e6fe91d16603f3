"""An ASGI app."""

import json


async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in scope["headers"]
    ]
    body = json.dumps(
        {
            "method": scope["method"],
            # Characters elsewhere stand for bytes, so they do here.
            "path": scope["path"].encode().decode("latin-1"),
            "host": dict(headers).get("host"),
            "headers": headers,
        }
    ).encode()
    head = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})
