"""The job of `tests/functions/continues.rs`, with boto3 as it comes: nothing but what the
function's environment says tells it where Lambda is."""

import json
import time
import urllib.request

import boto3

PACE = 0.04

client = boto3.client("lambda")


def handler(event, context):
    job = json.loads(event["body"]) if "body" in event else event
    cursor = job.get("cursor", 0)
    while cursor < job["records"]:
        time.sleep(PACE)
        record = [{"n": cursor, "request_id": context.aws_request_id}]
        request = urllib.request.Request(
            job["destination"],
            json.dumps(record).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).close()
        cursor += 1
        left = context.get_remaining_time_in_millis()
        if cursor < job["records"] and left < job["reserve_ms"]:
            answer = client.invoke(
                FunctionName=context.invoked_function_arn,
                InvocationType="Event",
                Payload=json.dumps({**job, "cursor": cursor}),
            )
            assert answer["StatusCode"] == 202, answer
            return {"statusCode": 202, "body": "goes on"}
    return {"statusCode": 200, "body": "done"}
