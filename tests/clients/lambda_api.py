"""Lambda's API and CloudWatch Logs by boto3 and the AWS CLI, with an endpoint URL alone.

`tests/e2e/aws_clients.rs` starts the sandbox and runs this file. The sandbox has two
functions, `worker` and `other`, both of `worker.py`, and a clock on which a minute takes a
second. Nothing but `Gateway` is Longshore's own: everything else would run against AWS.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
import uuid

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
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("not within 30 s: " + what)


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


class Invoke(Case):
    def test_by_every_name(self):
        for name, qualifier in [
            ("worker", None),
            ("worker", "$LATEST"),
            ("worker:$LATEST", None),
            ("function:worker", None),
            ("000000000000:function:worker", None),
            ("000000000000:function:worker:$LATEST", None),
            (WORKER, None),
            (WORKER, "$LATEST"),
            (WORKER + ":$LATEST", None),
        ]:
            with self.subTest(name=name, qualifier=qualifier):
                more = {"Qualifier": qualifier} if qualifier else {}
                answer = strict.invoke(FunctionName=name, Payload=b'{"n":1}', **more)
                self.assertEqual(answer["StatusCode"], 200)
                self.assertEqual(answer["ExecutedVersion"], "$LATEST")
                self.assertNotIn("FunctionError", answer)
                self.assertNotIn("LogResult", answer)
                self.assertEqual(
                    read(answer),
                    {
                        "event": {"n": 1},
                        "request_id": answer["ResponseMetadata"]["RequestId"],
                        "arn": WORKER,
                        "custom": None,
                    },
                )

    def test_without_a_payload(self):
        self.assertEqual(read(strict.invoke(FunctionName="worker"))["event"], {})

    def test_with_the_log(self):
        answer = strict.invoke(
            FunctionName="worker", Payload=b'{"n":"logged"}', LogType="Tail"
        )
        request_id = answer["ResponseMetadata"]["RequestId"]
        lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
        self.assertEqual(lines[0], f"START RequestId: {request_id} Version: $LATEST")
        self.assertIn('{"n": "logged"}', lines)
        self.assertIn(f"END RequestId: {request_id}", lines)
        report = [line for line in lines if line.startswith("REPORT")]
        self.assertEqual(len(report), 1, lines)
        self.assertIn(f"RequestId: {request_id}\tDuration: ", report[0])

    def test_with_a_client_context(self):
        context = base64.b64encode(b'{"custom": {"who": "me"}}').decode()
        answer = strict.invoke(FunctionName="worker", ClientContext=context)
        self.assertEqual(read(answer)["custom"], {"who": "me"})

    def test_nobody_waits(self):
        marker = str(uuid.uuid4())
        answer = strict.invoke(
            FunctionName="worker",
            InvocationType="Event",
            Payload=json.dumps(marker).encode(),
        )
        self.assertEqual(answer["StatusCode"], 202)
        self.assertEqual(answer["Payload"].read(), b"")
        self.assertNotIn("ExecutedVersion", answer)
        until("the event", lambda: logged("worker", marker))
        request_id = answer["ResponseMetadata"]["RequestId"]
        until("its end", lambda: logged("worker", "END RequestId: " + request_id))

    def test_invoke_async(self):
        marker = str(uuid.uuid4())
        answer = strict.invoke_async(
            FunctionName="worker", InvokeArgs=json.dumps(marker).encode()
        )
        self.assertEqual(answer["Status"], 202)
        until("the event", lambda: logged("worker", marker))

    def test_dry_run(self):
        marker = str(uuid.uuid4())
        answer = strict.invoke(
            FunctionName="worker",
            InvocationType="DryRun",
            Payload=json.dumps(marker).encode(),
        )
        self.assertEqual(answer["StatusCode"], 204)
        # Were it to run, it would before the next one.
        after = str(uuid.uuid4())
        strict.invoke(FunctionName="worker", Payload=json.dumps(after).encode())
        until("the next one", lambda: logged("worker", after))
        self.assertEqual(logged("worker", marker), [])

    def test_a_function_that_fails(self):
        answer = strict.invoke(FunctionName="worker", Payload=b'{"do":"fail"}')
        self.assertEqual((answer["StatusCode"], answer["FunctionError"]), (200, "Unhandled"))
        self.assertEqual(answer["ExecutedVersion"], "$LATEST")
        error = read(answer)
        self.assertEqual(
            (error["errorType"], error["errorMessage"]), ("ValueError", "no luck")
        )

    def test_what_is_refused(self):
        for code, status, arguments in [
            ("ResourceNotFoundException", 404, {"FunctionName": "nobody"}),
            (
                "ResourceNotFoundException",
                404,
                {"FunctionName": "worker", "Qualifier": "live"},
            ),
            (
                "ResourceNotFoundException",
                404,
                {"FunctionName": WORKER.replace("us-east-1", "eu-west-1")},
            ),
            (
                "InvalidRequestContentException",
                400,
                {"FunctionName": "worker", "Payload": b"{no"},
            ),
            (
                "InvalidRequestContentException",
                400,
                {"FunctionName": "worker", "ClientContext": "%%%"},
            ),
            (
                "InvalidParameterValueException",
                400,
                {"FunctionName": "worker:1", "Qualifier": "2"},
            ),
            (
                "RequestTooLargeException",
                413,
                {"FunctionName": "worker", "Payload": b'"' + b"x" * 6_291_555 + b'"'},
            ),
            (
                "RequestTooLargeException",
                413,
                {
                    "FunctionName": "worker",
                    "InvocationType": "Event",
                    "Payload": b'"' + b"x" * 1_048_575 + b'"',
                },
            ),
        ]:
            arguments = {"Payload": b"{}", **arguments}
            with self.subTest(code=code, arguments=str(arguments)[:80]):
                self.refused(code, status, strict.invoke, **arguments)
        answer = self.refused(
            "ResourceNotFoundException", 404, strict.invoke, FunctionName="nobody"
        )
        self.assertEqual(
            answer["Error"]["Message"], f"Function not found: {ARN}nobody:$LATEST"
        )
        self.assertEqual(answer["Type"], "User")

    def test_the_largest_payload(self):
        payload = b'"' + b"x" * 1_048_574 + b'"'
        answer = strict.invoke(
            FunctionName="worker", InvocationType="Event", Payload=payload
        )
        self.assertEqual(answer["StatusCode"], 202)
        request_id = answer["ResponseMetadata"]["RequestId"]
        until("its end", lambda: logged("worker", "END RequestId: " + request_id))


class ResponseStreams(Case):
    def test_an_answer(self):
        answer = strict.invoke_with_response_stream(
            FunctionName="worker", Payload=b'{"n":2}', LogType="Tail"
        )
        self.assertEqual(answer["StatusCode"], 200)
        self.assertEqual(answer["ExecutedVersion"], "$LATEST")
        self.assertEqual(
            answer["ResponseStreamContentType"], "application/vnd.amazon.eventstream"
        )
        *chunks, end = list(answer["EventStream"])
        payload = b"".join(chunk["PayloadChunk"]["Payload"] for chunk in chunks)
        self.assertEqual(json.loads(payload)["event"], {"n": 2})
        log = base64.b64decode(end["InvokeComplete"].pop("LogResult")).decode()
        self.assertIn('{"n": 2}', log)
        self.assertEqual(end, {"InvokeComplete": {}})

    def test_an_error(self):
        answer = strict.invoke_with_response_stream(
            FunctionName="worker", Payload=b'{"do":"fail"}'
        )
        (end,) = list(answer["EventStream"])
        self.assertEqual(end["InvokeComplete"]["ErrorCode"], "ValueError")
        details = json.loads(end["InvokeComplete"]["ErrorDetails"])
        self.assertEqual(details["errorMessage"], "no luck")

    def test_what_is_refused(self):
        call = strict.invoke_with_response_stream
        self.refused("ResourceNotFoundException", 404, call, FunctionName="nobody")
        self.refused(
            "InvalidRequestContentException",
            400,
            call,
            FunctionName="worker",
            Payload=b"{no",
        )


class Functions(Case):
    def test_list(self):
        names = [f["FunctionName"] for f in strict.list_functions()["Functions"]]
        self.assertEqual(names, ["other", "worker"])
        paginator = strict.get_paginator("list_functions")
        pages = list(paginator.paginate(PaginationConfig={"PageSize": 1}))
        self.assertEqual(
            [[f["FunctionArn"] for f in page["Functions"]] for page in pages],
            [[OTHER], [WORKER]],
        )

    def test_get(self):
        strict.get_waiter("function_active_v2").wait(FunctionName="worker")
        strict.get_waiter("function_updated_v2").wait(FunctionName="worker")
        for name in ["worker", WORKER, "000000000000:function:worker"]:
            found = strict.get_function(FunctionName=name)
            configuration = found["Configuration"]
            for field, expected in {
                "FunctionName": "worker",
                "FunctionArn": WORKER,
                "Runtime": "provided.al2023",
                "Handler": "worker.handler",
                "Timeout": 20,
                "MemorySize": 256,
                "Version": "$LATEST",
                "State": "Active",
                "LastUpdateStatus": "Successful",
                "PackageType": "Zip",
                "EphemeralStorage": {"Size": 512},
                "Environment": {"Variables": {"MODE": "test"}},
            }.items():
                self.assertEqual(configuration[field], expected, field)
            self.assertIsInstance(configuration["Timeout"], int)
            self.assertEqual(
                configuration["LoggingConfig"]["LogGroup"], "/aws/lambda/worker"
            )
            self.assertNotIn("Concurrency", found)
            alone = strict.get_function_configuration(FunctionName=name)
            del alone["ResponseMetadata"]
            self.assertEqual(alone, configuration)
        for call in [strict.get_function, strict.get_function_configuration]:
            self.refused("ResourceNotFoundException", 404, call, FunctionName="nobody")

    def test_account(self):
        account = strict.get_account_settings()
        limit = account["AccountLimit"]
        self.assertEqual(limit["ConcurrentExecutions"], 1000)
        self.assertEqual(limit["UnreservedConcurrentExecutions"], 1000)
        self.assertEqual(account["AccountUsage"]["FunctionCount"], 2)


class Concurrency(Case):
    def reserve(self, count):
        self.addCleanup(strict.delete_function_concurrency, FunctionName="worker")
        return strict.put_function_concurrency(
            FunctionName="worker", ReservedConcurrentExecutions=count
        )["ReservedConcurrentExecutions"]

    def test_put_get_delete(self):
        self.assertEqual(self.reserve(7), 7)
        found = strict.get_function_concurrency(FunctionName="worker")
        self.assertEqual(found["ReservedConcurrentExecutions"], 7)
        found = strict.get_function(FunctionName="worker")
        self.assertEqual(found["Concurrency"], {"ReservedConcurrentExecutions": 7})
        limit = strict.get_account_settings()["AccountLimit"]
        self.assertEqual(limit["UnreservedConcurrentExecutions"], 993)
        strict.delete_function_concurrency(FunctionName="worker")
        found = strict.get_function_concurrency(FunctionName="worker")
        self.assertNotIn("ReservedConcurrentExecutions", found)

    def test_what_is_refused(self):
        put = strict.put_function_concurrency
        for name, count, code, status in [
            ("worker", 901, "InvalidParameterValueException", 400),
            ("nobody", 1, "ResourceNotFoundException", 404),
            ("worker:$LATEST", 1, "InvalidParameterValueException", 400),
        ]:
            arguments = {"FunctionName": name, "ReservedConcurrentExecutions": count}
            self.refused(code, status, put, **arguments)

    def test_nobody_gets_in(self):
        self.reserve(0)
        answer = self.refused(
            "TooManyRequestsException", 429, strict.invoke, FunctionName="worker"
        )
        self.assertEqual(
            answer["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded"
        )
        self.assertIn("retry-after", answer["ResponseMetadata"]["HTTPHeaders"])

    def test_throttled_callers_recover_by_themselves(self):
        """Three callers meet a function that is busy, with boto3's own retries."""
        self.reserve(1)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        release = os.path.join(folder.name, "release")
        busy = {"do": "wait", "until": release}

        def hold():
            strict.invoke(FunctionName="worker", Payload=json.dumps(busy).encode())

        holder = threading.Thread(target=hold)
        holder.start()
        self.addCleanup(holder.join)
        self.addCleanup(lambda: open(release, "w").close())
        until("the holder", lambda: logged("worker", release))
        self.refused("TooManyRequestsException", 429, strict.invoke, FunctionName="worker")

        throttled = set()
        answers = {}

        def call(number):
            client = as_users_make_it()

            def seen(response, **_):
                if response[1]["ResponseMetadata"]["HTTPStatusCode"] == 429:
                    throttled.add(number)
                    if len(throttled) == 3:
                        open(release, "w").close()

            client.meta.events.register("needs-retry.lambda.Invoke", seen)
            answers[number] = client.invoke(
                FunctionName="worker", Payload=json.dumps(number).encode()
            )

        callers = [threading.Thread(target=call, args=(n,)) for n in range(3)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual(throttled, {0, 1, 2})
        for number in range(3):
            answer = answers[number]
            self.assertEqual(read(answer)["event"], number)
            self.assertGreaterEqual(answer["ResponseMetadata"]["RetryAttempts"], 1)

    def test_throttling_on_demand_is_survived(self):
        Gateway.rules(self, {"fault": "throttle", "function": "worker", "times": 2})
        answer = as_users_make_it().invoke(FunctionName="worker", Payload=b'"through"')
        self.assertEqual(read(answer)["event"], "through")
        self.assertEqual(answer["ResponseMetadata"]["RetryAttempts"], 2)
        self.assertEqual(Gateway.struck(), [2])


class EventInvokeConfig(Case):
    def setUp(self):
        def clear():
            try:
                strict.delete_function_event_invoke_config(FunctionName="worker")
            except strict.exceptions.ResourceNotFoundException:
                pass

        self.addCleanup(clear)

    def test_put_update_get_list_delete(self):
        name = {"FunctionName": "worker"}
        for call in [
            strict.get_function_event_invoke_config,
            strict.delete_function_event_invoke_config,
            strict.update_function_event_invoke_config,
        ]:
            more = {"MaximumRetryAttempts": 1} if "update" in call.__name__ else {}
            self.refused("ResourceNotFoundException", 404, call, **name, **more)
        put = strict.put_function_event_invoke_config(
            **name,
            MaximumRetryAttempts=1,
            DestinationConfig={"OnFailure": {"Destination": OTHER}},
        )
        expected = {
            "FunctionArn": WORKER + ":$LATEST",
            "MaximumRetryAttempts": 1,
            "DestinationConfig": {"OnSuccess": {}, "OnFailure": {"Destination": OTHER}},
        }
        self.assertEqual(self.plain(put), expected)
        update = strict.update_function_event_invoke_config(
            **name,
            MaximumEventAgeInSeconds=600,
            DestinationConfig={"OnSuccess": {"Destination": OTHER}},
        )
        expected["MaximumEventAgeInSeconds"] = 600
        expected["DestinationConfig"]["OnSuccess"] = {"Destination": OTHER}
        self.assertEqual(self.plain(update), expected)
        get = strict.get_function_event_invoke_config(**name)
        self.assertEqual(self.plain(get), expected)
        paginator = strict.get_paginator("list_function_event_invoke_configs")
        (page,) = list(paginator.paginate(**name))
        (listed,) = page["FunctionEventInvokeConfigs"]
        self.assertEqual(self.plain(listed), expected)
        again = strict.put_function_event_invoke_config(**name, MaximumRetryAttempts=0)
        self.assertEqual(
            self.plain(again),
            {
                "FunctionArn": WORKER + ":$LATEST",
                "MaximumRetryAttempts": 0,
                "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
            },
        )
        strict.delete_function_event_invoke_config(**name)
        listed = strict.list_function_event_invoke_configs(**name)
        self.assertEqual(listed["FunctionEventInvokeConfigs"], [])

    @staticmethod
    def plain(config):
        """Without what differs from call to call; the time is one."""
        assert config["LastModified"].timestamp() <= time.time() + 1
        left_out = ("LastModified", "ResponseMetadata")
        return {key: value for key, value in config.items() if key not in left_out}

    def test_what_is_refused(self):
        put = strict.put_function_event_invoke_config
        nowhere = "arn:aws:sqs:us-east-1:000000000000:nowhere"
        for more, code in [
            ({}, "InvalidParameterValueException"),
            (
                {"DestinationConfig": {"OnFailure": {"Destination": nowhere}}},
                "InvalidParameterValueException",
            ),
            (
                {"DestinationConfig": {"OnFailure": {"Destination": WORKER}}},
                "InvalidParameterValueException",
            ),
            (
                {"DestinationConfig": {"OnFailure": {"Destination": ARN + "nobody"}}},
                "InvalidParameterValueException",
            ),
        ]:
            with self.subTest(more=more):
                self.refused(code, 400, put, FunctionName="worker", **more)
        self.refused(
            "ResourceNotFoundException",
            404,
            put,
            FunctionName="nobody",
            MaximumRetryAttempts=1,
        )

    def end_of(self, event):
        """Sends an event, and waits for the word of its end."""
        strict.put_function_event_invoke_config(
            FunctionName="worker",
            DestinationConfig={
                "OnSuccess": {"Destination": OTHER},
                "OnFailure": {"Destination": OTHER},
            },
        )
        answer = strict.invoke(
            FunctionName="worker", InvocationType="Event", Payload=json.dumps(event)
        )
        request_id = answer["ResponseMetadata"]["RequestId"]
        record = self.record_of(request_id)
        starts = logged("worker", "START RequestId: " + request_id)
        self.assertRegex(record.pop("timestamp"), r"^\d{4}(-\d\d){2}T[\d:]{8}\.\d{3}Z$")
        return request_id, len(starts), record

    def test_a_failure_is_tried_three_times_and_told(self):
        request_id, starts, record = self.end_of({"do": "fail"})
        self.assertEqual(starts, 3)
        error = record.pop("responsePayload")
        self.assertEqual(
            (error["errorType"], error["errorMessage"]), ("ValueError", "no luck")
        )
        self.assertEqual(
            record,
            {
                "version": "1.0",
                "requestContext": {
                    "requestId": request_id,
                    "functionArn": WORKER + ":$LATEST",
                    "condition": "RetriesExhausted",
                    "approximateInvokeCount": 3,
                },
                "requestPayload": {"do": "fail"},
                "responseContext": {
                    "statusCode": 200,
                    "executedVersion": "$LATEST",
                    "functionError": "Unhandled",
                },
            },
        )

    def test_two_deliveries_crash_and_the_third_is_done(self):
        Gateway.rules(
            self, {"fault": "crash=0ms", "function": "worker", "deliveries": [1, 2]}
        )
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        release = os.path.join(folder.name, "release")
        event = {"do": "wait", "until": release}

        def let_go():
            until("two strikes", lambda: Gateway.struck() == [2])
            open(release, "w").close()

        letting = threading.Thread(target=let_go)
        letting.start()
        self.addCleanup(letting.join)
        request_id, starts, record = self.end_of(event)
        self.assertEqual(starts, 3)
        self.assertEqual(
            record["requestContext"],
            {
                "requestId": request_id,
                "functionArn": WORKER + ":$LATEST",
                "condition": "Success",
                "approximateInvokeCount": 3,
            },
        )
        self.assertEqual(record["responsePayload"]["request_id"], request_id)


class Logs(Case):
    GROUP = {"logGroupName": "/aws/lambda/worker"}

    def setUp(self):
        self.marker = str(uuid.uuid4())
        answer = strict.invoke(
            FunctionName="worker", Payload=json.dumps(self.marker).encode()
        )
        self.request_id = answer["ResponseMetadata"]["RequestId"]
        end = "END RequestId: " + self.request_id
        until("its log", lambda: logged("worker", end))

    def test_filter_log_events(self):
        found = logs.filter_log_events(**self.GROUP, filterPattern=json.dumps(self.marker))
        (event,) = found["events"]
        self.assertEqual(event["message"], f'"{self.marker}"\n')
        self.assertLessEqual(abs(event["timestamp"] / 1000 - time.time()), 60)
        self.assertEqual(
            logs.filter_log_events(
                **self.GROUP,
                filterPattern=json.dumps(self.marker),
                startTime=event["timestamp"] + 1,
            )["events"],
            [],
        )
        of_stream = logs.filter_log_events(
            **self.GROUP, logStreamNames=[event["logStreamName"]], limit=1
        )
        self.assertEqual(len(of_stream["events"]), 1)
        self.assertIn("nextToken", of_stream)

    def test_get_log_events_from_both_ends(self):
        found = logs.filter_log_events(**self.GROUP, filterPattern=json.dumps(self.marker))
        stream = {**self.GROUP, "logStreamName": found["events"][0]["logStreamName"]}
        whole = logs.get_log_events(**stream, startFromHead=True)
        messages = [event["message"] for event in whole["events"]]
        at = messages.index(f'"{self.marker}"\n')
        self.assertEqual(
            messages[at - 1], f"START RequestId: {self.request_id} Version: $LATEST\n"
        )
        by_one, token = [], {}
        while True:
            page = logs.get_log_events(**stream, **token, startFromHead=True, limit=7)
            by_one += [event["message"] for event in page["events"]]
            if page["nextForwardToken"] == token.get("nextToken"):
                break
            token = {"nextToken": page["nextForwardToken"]}
        self.assertEqual(by_one, messages)
        last = logs.get_log_events(**stream, limit=1)["events"]
        self.assertEqual([event["message"] for event in last], messages[-1:])

    def test_describe(self):
        (group,) = logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/work")[
            "logGroups"
        ]
        self.assertEqual(group["logGroupName"], "/aws/lambda/worker")
        pages = logs.get_paginator("describe_log_streams").paginate(
            **self.GROUP, orderBy="LastEventTime", descending=True
        )
        streams = [stream for page in pages for stream in page["logStreams"]]
        self.assertRegex(
            streams[0]["logStreamName"],
            r"^\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}$",
        )
        last = [stream["lastEventTimestamp"] for stream in streams]
        self.assertEqual(last, sorted(last, reverse=True))

    def test_what_is_refused(self):
        group = {"logGroupName": "/aws/lambda/nobody"}
        for call, more in [
            (logs.filter_log_events, {}),
            (logs.get_log_events, {"logStreamName": "none"}),
            (logs.describe_log_streams, {}),
        ]:
            self.refused("ResourceNotFoundException", 400, call, **group, **more)
        self.refused(
            "ResourceNotFoundException",
            400,
            logs.get_log_events,
            **self.GROUP,
            logStreamName="none",
        )


class CommandLine(Case):
    """The AWS CLI finds the endpoint by a flag, or by either of its variables."""

    def aws(self, *arguments, **variables):
        ran = subprocess.run(
            [sys.executable, "-m", "awscli", "lambda", *arguments, "--output", "json"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return json.loads(ran.stdout)

    def test_list_functions(self):
        for variable in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA"]:
            found = self.aws("list-functions", **{variable: ENDPOINT})
            names = [function["FunctionName"] for function in found["Functions"]]
            self.assertEqual(names, ["other", "worker"])

    def test_invoke(self):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "out.json")
            answer = self.aws(
                "--endpoint-url",
                ENDPOINT,
                "invoke",
                "--function-name",
                "worker",
                "--payload",
                '{"from": "the command line"}',
                "--log-type",
                "Tail",
                out,
            )
            with open(out, encoding="utf-8") as file:
                self.assertEqual(json.load(file)["event"], {"from": "the command line"})
        self.assertEqual(answer["StatusCode"], 200)
        self.assertEqual(answer["ExecutedVersion"], "$LATEST")
        log = base64.b64decode(answer["LogResult"]).decode()
        self.assertIn("REPORT RequestId: ", log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
