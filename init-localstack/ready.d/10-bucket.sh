#!/bin/bash
# Runs when LocalStack is ready: makes the bucket and puts the fixtures into it. Doing it
# again changes nothing. Files that come later are put by the service `fixtures`.
# Over plain HTTP: each start of `awslocal` takes one to three seconds.
exec python3 - "${LONGSHORE_BUCKET:-test-bucket}" /fixtures <<'END'
import os
import sys
import time
from http.client import HTTPConnection
from urllib.parse import quote

bucket, folder = sys.argv[1:]
s3 = HTTPConnection("127.0.0.1", 4566, timeout=30)


def put(path, body=b"", fine=(200,)):
    until = time.monotonic() + 20
    while True:
        s3.request("PUT", quote(path), body)
        answer = s3.getresponse()
        said = answer.read().decode(errors="replace")
        # LocalStack calls a service loaded a moment before it routes to it: who comes in
        # between (the service `fixtures` asks at the same time) hears "no handler".
        if answer.status != 501 or time.monotonic() > until:
            break
        time.sleep(0.1)
    if answer.status not in fine:
        sys.exit(f"PUT {path}: {answer.status} {said}")


put(f"/{bucket}", fine=(200, 409))  # 409: it is ours already
for where, folders, files in os.walk(folder):
    folders[:] = (name for name in folders if not name.startswith("."))
    for name in (name for name in files if not name.startswith(".")):
        path = os.path.join(where, name)
        with open(path, "rb") as file:
            put(f"/{bucket}/{os.path.relpath(path, folder)}", file.read())
END
