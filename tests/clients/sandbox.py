"""What the tests by boto3 and the AWS CLI share: clients that know an endpoint URL alone.

`tests/e2e/aws_clients.rs` starts the sandbox and runs the `test_*.py` of this folder. The
sandbox has two functions, `worker` and `other`, both of `worker.py`, and a clock on which a
minute takes a second. Nothing but `Gateway` is Longshore's own: everything else would run
against AWS.
"""

import json
import os
import time
import unittest
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["TEST_ENDPOINT"]
GATEWAY = os.environ["TEST_GATEWAY"]
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
WORKER = ARN + "worker"
OTHER = ARN + "other"

# Without retries, so that what is refused is seen to be.
strict = boto3.client(
    "lambda", endpoint_url=ENDPOINT, config=Config(retries={"total_max_attempts": 1})
)
logs = boto3.client("logs", endpoint_url=ENDPOINT)


def as_users_make_it():
    """A client with the SDK's own settings."""
    return boto3.client("lambda", endpoint_url=ENDPOINT)


def until(what, look):
    """What `look` finds, once it finds anything: functions run at their own pace."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("not within 60 s: " + what)


def logged(function, text):
    """The messages of a function's log that contain this text."""
    try:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/lambda/" + function, filterPattern=json.dumps(text)
        )
        return [event["message"] for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []  # No group before the first line.


def read(response):
    return json.loads(response["Payload"].read())


class Case(unittest.TestCase):
    def refused(self, code, status, call, **arguments):
        """Calls what must be refused; the answer."""
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        answer = caught.exception.response
        self.assertEqual(answer["Error"]["Code"], code, answer)
        self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], status)
        return answer

    def record_of(self, request_id):
        """What `other` was told of how this invocation ended."""
        return json.loads(
            until("a record", lambda: logged("other", request_id))[0]
        )


class Gateway:
    """What goes wrong: the one thing here that AWS has no API for."""

    URL = GATEWAY + "/_longshore/faults"

    @classmethod
    def call(cls, method, body=None):
        request = urllib.request.Request(
            cls.URL, body, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")

    @classmethod
    def rules(cls, case, *rules):
        case.addCleanup(cls.call, "DELETE")
        cls.call("PUT", json.dumps({"seed": 7, "rules": rules}).encode())

    @classmethod
    def struck(cls):
        return [rule["injected"] for rule in cls.call("GET")["rules"]]
