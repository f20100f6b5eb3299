"""What functions there are, and how many of their invocations may run at a time."""

import json
import os
import tempfile
import threading
import unittest.mock

from sandbox import (
    OTHER,
    WORKER,
    Case,
    Gateway,
    as_users_make_it,
    logged,
    read,
    strict,
    until,
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


class Recursion(Case):
    def allow(self, wanted):
        self.addCleanup(
            strict.put_function_recursion_config,
            FunctionName="worker",
            RecursiveLoop="Terminate",
        )
        put = strict.put_function_recursion_config(
            FunctionName="worker", RecursiveLoop=wanted
        )
        self.assertEqual(put["RecursiveLoop"], wanted)

    def test_get_and_put(self):
        get = strict.get_function_recursion_config
        for name in ["worker", WORKER, "000000000000:function:worker"]:
            self.assertEqual(get(FunctionName=name)["RecursiveLoop"], "Terminate")
        for wanted in ["Allow", "Terminate"]:
            self.allow(wanted)
            self.assertEqual(get(FunctionName="worker")["RecursiveLoop"], wanted)
        self.refused("ResourceNotFoundException", 404, get, FunctionName="nobody")

    def hop(self, name):
        """Invokes as a function would that has this trace; what is told of the call."""
        answer = strict.invoke(FunctionName=name, Payload=b'{"do": "trace"}')
        os.environ["_X_AMZN_TRACE_ID"] = read(answer)
        return answer["ResponseMetadata"]["HTTPHeaders"].get("x-longshore-parity")

    def test_a_chain_is_counted_by_function(self):
        """boto3 sends along what it finds in a function's environment, and writes `|` as
        `%7C`."""
        environment = {
            "AWS_LAMBDA_FUNCTION_NAME": "worker",
            "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793",
        }
        with unittest.mock.patch.dict(os.environ, environment):
            for _ in range(16):
                self.assertIsNone(self.hop("worker"))
                self.assertIsNone(self.hop("other"))
            self.assertIn("|", os.environ["_X_AMZN_TRACE_ID"])
            told = self.hop("worker")
            self.assertRegex(told, "^recursive-loop: .*`worker` for the 17th time")
            self.assertRegex(self.hop("other"), "`other` for the 17th time")
            self.allow("Allow")
            self.assertIsNone(self.hop("worker"))
            self.assertRegex(self.hop("other"), "`other` for the 18th time")


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
