#!/bin/sh
# The entry of the container: `bunsen VERB ...`. The password of Postgres comes from a file, not
# from the compose file or `docker inspect`; libpq reads it from PGPASSWORD.
set -eu
if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    export PGPASSWORD
fi
exec /bunsen/.venv/bin/python -m app.cli "$@"
