#!/bin/bash
# Runs when LocalStack is ready: makes the bucket and puts the fixtures into it. Doing it
# again changes nothing. Files that come later are put by the service `fixtures`.
set -euo pipefail
# Not by the network's names: AWS's clients refuse one with an underscore.
export AWS_ENDPOINT_URL=http://127.0.0.1:4566
bucket="${LONGSHORE_BUCKET:-test-bucket}"
fixtures=/fixtures

awslocal s3 mb "s3://$bucket" >/dev/null 2>&1 || awslocal s3api head-bucket --bucket "$bucket"
awslocal s3 sync --only-show-errors --exclude '.*' --exclude '*/.*' "$fixtures" "s3://$bucket"
