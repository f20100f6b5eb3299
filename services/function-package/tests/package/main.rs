//! Packages as AWS would get them: refused, unpacked, built.

// `cfg(test)` tells clippy that their helpers are test code too.
#[cfg(test)]
mod checks;
#[cfg(test)]
mod reproducible;
#[cfg(test)]
mod unpacking;
#[cfg(test)]
mod workbench;
