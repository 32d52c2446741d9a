"""Runs in the server's environment, never in ours: `launch.py serve PORT`, `launch.py migrate`, `launch.py password`.

What must not be seen in a process list comes on standard input, as JSON: `{"email": ..., "password": ...}` or `{}`.
"""

import json
import logging
import os
import sys


def main() -> None:
    """Do what the first argument says."""
    os.umask(0o077)
    told = json.loads(sys.stdin.read() or "{}")
    task = sys.argv[1]
    # Django's log of requests would have a line for each picture and each poll.
    logging.getLogger("django.server").addFilter(lambda record: record.levelno >= logging.WARNING)
    from label_studio import server

    if task == "serve":
        if told:
            os.environ["LABEL_STUDIO_USERNAME"] = told["email"]
            os.environ["LABEL_STUDIO_PASSWORD"] = told["password"]
        sys.argv = ["label-studio", "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", sys.argv[2]]
        server.main()
        return
    server._setup_env()
    server._apply_database_migrations()
    if task == "password":
        from users.models import User

        user = User.objects.get(email=told["email"])
        user.set_password(told["password"])
        user.save()


if __name__ == "__main__":
    main()
