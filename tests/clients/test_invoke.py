"""Invoke in all its forms, InvokeAsync and InvokeWithResponseStream."""

import base64
import json
import uuid

from sandbox import ARN, WORKER, Case, logged, read, strict, until


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
                named = qualifier or name.endswith(":$LATEST")
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
                        "arn": WORKER + ":$LATEST" if named else WORKER,
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
