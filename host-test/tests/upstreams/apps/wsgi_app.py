"""A WSGI app."""

from cgi_environment import seen


def app(environ, start_response):
    environ["wsgi.input"].read()
    variables = [pair for pair in environ.items() if isinstance(pair[1], str)]
    # As frameworks put the path together (PEP 3333).
    whole = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
    body = seen(variables + [("PATH_INFO", whole)])
    head = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", head)
    return [body]
