"""django-oauth-toolkit with client credentials, introspection and revocation, for one test.

Its configuration is JSON in the variable CONFIGURATION: clients, [{ id, secret }], and the path of a database to make. It
prints its issuer in one line of JSON.
"""

import json
import os

import django
from django.conf import settings
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

# Where the toolkit's own documentation mounts it.
MOUNT = "o/"

# Filled once Django is set up, as the toolkit's views need that.
urlpatterns = []


def main():
    configuration = json.loads(os.environ["CONFIGURATION"])
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": configuration["database"]}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
        OAUTH2_PROVIDER={"SCOPES": {"read": "read"}},
        ROOT_URLCONF=__name__,
        SECRET_KEY=os.urandom(32).hex(),
        USE_TZ=True,
    )
    django.setup()
    urlpatterns.append(path(MOUNT, include("oauth2_provider.urls")))
    call_command("migrate", verbosity=0)
    for client in configuration["clients"]:
        register(client)

    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietHandler)
    server.set_app(get_wsgi_application())
    print(json.dumps({"issuer": f"http://127.0.0.1:{server.server_port}/{MOUNT}".rstrip("/")}), flush=True)
    server.serve_forever()


def register(client):
    from oauth2_provider.models import get_application_model

    application = get_application_model()
    application.objects.create(
        client_id=client["id"],
        client_secret=client["secret"],
        client_type=application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=application.GRANT_CLIENT_CREDENTIALS,
        name=client["id"],
    )


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


if __name__ == "__main__":
    main()
