//! How a Longshore service starts and stops: listeners, shutdown, health, problem+json, tracing.
