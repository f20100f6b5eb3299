"""The function that AWS's clients call in the tests: does what its event asks for."""

import json
import os
import time


def handler(event, context):
    print(json.dumps(event)[:10_000])
    order = event if isinstance(event, dict) else {}
    if order.get("do") == "fail":
        raise ValueError("no luck")
    if order.get("do") == "wait":
        # Until the test says so: polled, as it does by making a file.
        while not os.path.exists(order["until"]):
            time.sleep(0.005)
    if order.get("do") == "trace":
        return os.environ["_X_AMZN_TRACE_ID"]
    client = context.client_context
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "custom": client.custom if client else None,
    }
