//! The endpoint as its clients see it: over a socket, through the AWS SDK where one would
//! use it and by raw requests where the SDK is too well behaved.

// `cfg(test)` tells clippy that their helpers are test code too.
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod lambda;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod sdk;
