//! API Gateway in front, the Lambda Runtime API behind, the invocation broker between.
