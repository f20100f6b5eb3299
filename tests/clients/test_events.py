"""How events that nobody waits for are retried, and where word of their end goes."""

import json
import os
import tempfile
import threading
import time

from sandbox import ARN, OTHER, WORKER, Case, Gateway, logged, strict, until


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
