"""The pipeline job in Python, as a yardstick for the Rust runner.

It does what the Rust demo function does, the way a Python Lambda usually does it: the
file is streamed with requests' iter_lines, each line parsed with json.loads, batches of
500 posted as JSON, and a status report sent with PUT after each full batch. It prints
one line of JSON about itself. Needs `pip install requests`.
"""

import argparse
import json
import resource
import sys
import time

import requests


class Job:
    def __init__(self, args):
        self.args = args
        self.callback = requests.Session()
        self.callback.headers.update(
            {
                "Content-Type": "application/json",
                "X-Amperity-Tenant": "bench",
                "Authorization": "Bearer bench",
            }
        )
        self.destination = requests.Session()
        self.records = 0
        self.bytes_seen = 0
        self.errors = []

    def report(self, state, progress, reason=""):
        document = {"state": state, "progress": progress, "errors": self.errors[:10], "reason": reason}
        answer = self.callback.put(self.args.callback_url + self.args.webhook_id, data=json.dumps(document))
        answer.raise_for_status()
        self.errors = []

    def deliver(self, batch):
        answer = self.destination.post(self.args.destination_url, json=batch)
        if not answer.ok:
            self.errors.append(answer.text)
        self.records += len(batch)

    def run(self):
        self.report("running", 0.0)
        with requests.get(self.args.data_url, stream=True) as source:
            if source.status_code != 200:
                self.report("failed", 0.0, "Failed to download file.")
                sys.exit(f"the source answered {source.status_code}")
            size = int(source.headers["Content-Length"])
            batch = []
            for line in source.iter_lines(chunk_size=self.args.chunk_size):
                self.bytes_seen += len(line) + 1
                batch.append(json.loads(line))
                if len(batch) == self.args.batch_size:
                    self.deliver(batch)
                    batch = []
                    self.report("running", round(self.bytes_seen / size, 2))
            if batch:
                self.deliver(batch)
        self.report("succeeded", 1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-url", required=True)
    parser.add_argument("--callback-url", required=True)
    parser.add_argument("--webhook-id", required=True)
    parser.add_argument("--destination-url", required=True)
    parser.add_argument("--batch-size", type=int, default=500)
    # What iter_lines reads at a time when nothing is said.
    parser.add_argument("--chunk-size", type=int, default=512)
    job = Job(parser.parse_args())
    start = time.monotonic()
    job.run()
    seconds = time.monotonic() - start
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    peak = usage if sys.platform == "darwin" else usage * 1024
    print(json.dumps({"records": job.records, "bytes": job.bytes_seen, "seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
