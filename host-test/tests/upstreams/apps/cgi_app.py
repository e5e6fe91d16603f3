"""A CGI script."""

import sys

from cgi_environment import seen

# Not `os.environ`, which keeps one of two variables of the same name.
with open("/proc/self/environ", "rb") as environment:
    variables = environment.read().decode("latin-1").split("\0")
pairs = [tuple(variable.split("=", 1)) for variable in variables if "=" in variable]
sys.stdin.buffer.read()
body = seen(pairs)
head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
sys.stdout.buffer.write(head.encode() + body)
