"""The AWS CLI."""

import base64
import json
import os
import subprocess
import sys
import tempfile

from sandbox import ENDPOINT, Case


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
