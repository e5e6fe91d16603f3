"""What a program behind CGI, SCGI or WSGI is told of a request."""

import json


def seen(variables):
    """As JSON in ASCII. Each byte is one character (Latin-1), as WSGI has it, so none is lost.

    `variables`: pairs of a name and a value. A name may come twice.
    """
    values = dict(variables)
    return json.dumps(
        {
            "method": values["REQUEST_METHOD"],
            "path": values["PATH_INFO"],
            "host": values.get("HTTP_HOST"),
            "headers": [pair for pair in variables if pair[0].startswith("HTTP_")],
        }
    ).encode()
