"""The logs of functions, as CloudWatch Logs."""

import json
import time
import uuid

from sandbox import Case, logged, logs, strict, until


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
