//! How often a chain of requests has invoked a function: the `Lineage` of its trace header.
//!
//! AWS appends `Lineage=<count>:<8 hex>:<0>` to the header that a function gets, and its SDKs
//! send what a function got along with whatever it calls; that way the count goes round in a
//! loop. X-Ray's documentation shows the shape and not what the numbers mean: recordings of
//! first invocations have `1:<8 hex>:0`, so that here the first number counts, the second
//! tells functions apart and the third stays zero. A chain through several functions has one
//! of these for each, with `|` between them as X-Ray documented it before.

use std::ops::Range;

/// What a chain through one function adds to a header, in bytes.
pub(crate) const ROOM: usize = ";Lineage=1:00000000:0".len();

const KEY: &str = "Lineage=";
/// A chain that leads through more functions forgets those it was in longest ago, so that
/// no header grows without end.
const MOST_FUNCTIONS: usize = 16;
/// The highest count that readers of the header take.
const MOST_TIMES: u32 = 32_767;

/// A function that the chain was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Visited {
    times: u32,
    function: u32,
}

/// Counts one more invocation of this function.
pub(crate) fn enter(header: &mut String, function: &str) {
    let function = id(function);
    let mut times = 0;
    let mut others = Vec::new();
    if let Some(part) = part(header) {
        for visited in visits(&header[part.start + KEY.len()..part.end]) {
            if visited.function == function {
                times = visited.times;
            } else {
                others.push(visited);
            }
        }
        cut(header, part);
    }
    let forgotten = (others.len() + 1).saturating_sub(MOST_FUNCTIONS);
    header.push(';');
    header.push_str(KEY);
    let times = times.saturating_add(1).min(MOST_TIMES);
    let last = Visited { times, function };
    for (n, visited) in others[forgotten..].iter().chain([&last]).enumerate() {
        if n > 0 {
            header.push('|');
        }
        visited.push_to(header);
    }
}

impl Visited {
    /// Most headers get one of these, and it says 1: without memory of its own.
    fn push_to(self, header: &mut String) {
        let Self { times, function } = self;
        match char::from_digit(times, 10) {
            Some(digit) => header.push(digit),
            None => header.push_str(&times.to_string()),
        }
        header.push(':');
        let nibbles = (0..8).rev().map(|n| (function >> (4 * n)) & 0xf);
        header.extend(nibbles.filter_map(|nibble| char::from_digit(nibble, 16)));
        header.push_str(":0");
    }
}

/// How often the chain has invoked this function.
pub(crate) fn times(header: &str, function: &str) -> u32 {
    let Some(part) = part(header) else {
        return 0;
    };
    let function = id(function);
    visits(&header[part.start + KEY.len()..part.end])
        .find(|visited| visited.function == function)
        .map_or(0, |visited| visited.times)
}

/// Begins a chain anew: forgets every function.
pub(crate) fn forget(header: &mut String) {
    if let Some(part) = part(header) {
        cut(header, part);
    }
}

/// Where the lineage stands in a header.
fn part(header: &str) -> Option<Range<usize>> {
    let mut found = header.match_indices(KEY).map(|(at, _)| at);
    let start = found.find(|at| *at == 0 || header.as_bytes()[at - 1] == b';')?;
    let length = header[start..].find(';');
    Some(start..length.map_or(header.len(), |length| start + length))
}

/// Removes a part, and the semicolon before it, or after it where it is the first.
fn cut(header: &mut String, part: Range<usize>) {
    let Range { start, end } = part;
    let whole = match start {
        0 => 0..(end + 1).min(header.len()),
        _ => start - 1..end,
    };
    header.replace_range(whole, "");
}

/// What is of another shape is left out. boto3 encodes the bar.
fn visits(lineage: &str) -> impl Iterator<Item = Visited> {
    let each = lineage.split('|').flat_map(|part| part.split("%7C"));
    each.filter_map(|visited| {
        let (times, rest) = visited.split_once(':')?;
        let (function, _) = rest.split_once(':')?;
        let is_id = function.len() == 8;
        Some(Visited {
            times: times.parse().ok()?,
            function: u32::from_str_radix(function, 16).ok().filter(|_| is_id)?,
        })
    })
}

/// Tells functions apart: the 32 bits of FNV-1a.
fn id(function: &str) -> u32 {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    function.bytes().fold(0x811c_9dc5, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str =
        "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

    fn entered(header: &str, functions: &[&str]) -> String {
        let mut header = header.to_owned();
        for function in functions {
            enter(&mut header, function);
        }
        header
    }

    #[test]
    fn a_first_invocation_is_recorded_as_aws_does() {
        let demo = format!("{:08x}", id("demo"));
        let header = entered(TRACE, &["demo"]);
        assert_eq!(header, format!("{TRACE};Lineage=1:{demo}:0"));
        assert_eq!(header.len(), TRACE.len() + ROOM);
        assert_eq!((times(&header, "demo"), times(TRACE, "demo")), (1, 0));
        // FNV's own test vector.
        assert_eq!(id("foobar"), 0xbf9c_f968);
    }

    #[test]
    fn every_function_of_a_chain_is_counted_by_itself() {
        let mut header = TRACE.to_owned();
        for n in 1..=20 {
            enter(&mut header, "demo");
            assert_eq!(times(&header, "demo"), n);
            assert_eq!(header.matches("Lineage=").count(), 1, "{header}");
        }
        let header = entered(&header, &["other", "demo", "other"]);
        assert_eq!((times(&header, "demo"), times(&header, "other")), (21, 2));
        assert_eq!(times(&header, "nobody"), 0);
        let (demo, other) = (id("demo"), id("other"));
        let end = format!(";Lineage=21:{demo:08x}:0|2:{other:08x}:0");
        assert_eq!(header, format!("{TRACE}{end}"));
    }

    #[test]
    fn what_callers_send_is_read_wherever_it_stands_and_however_it_is_encoded() {
        let (demo, other) = (id("demo"), id("other"));
        for (sent, expected) in [
            (format!("{TRACE};Lineage=3:{demo:08x}:0"), 3),
            (format!("Lineage=3:{demo:08x}:0;{TRACE}"), 3),
            (format!("Root=1-2-3;Lineage=3:{demo:08x}:0;Sampled=1"), 3),
            // As boto3 sends it, and with what AWS recorded of another account's function.
            (
                format!("{TRACE};Lineage=1:{other:08x}:0%7C9:{demo:08x}:0"),
                9,
            ),
            (format!("{TRACE};Lineage=1:36680206:0|9:{demo:08X}:4"), 9),
            (format!("{TRACE};Lineage=99999:{demo:08x}:0"), 99_999),
            // Of another shape.
            (format!("{TRACE};Lineage={demo:08x}:7"), 0),
            (format!("{TRACE};Lineage=-1:{demo:08x}:0"), 0),
            (format!("{TRACE};Lineage=x|1:{demo:x}00:0|1:zzzzzzzz:0"), 0),
            (format!("{TRACE};Lineage="), 0),
            (format!("{TRACE};NoLineage=3:{demo:08x}:0"), 0),
        ] {
            assert_eq!(times(&sent, "demo"), expected, "{sent}");
            let header = entered(&sent, &["demo"]);
            let counted = (expected + 1).min(MOST_TIMES);
            assert_eq!(times(&header, "demo"), counted, "{sent} -> {header}");
            for part in sent.split(';').filter(|part| !part.starts_with(KEY)) {
                assert!(header.split(';').any(|kept| kept == part), "{header}");
            }
            assert_eq!(times(&header, "other"), times(&sent, "other"), "{header}");
        }
    }

    #[test]
    fn a_chain_begins_anew_without_what_it_was() {
        for sent in [
            TRACE.to_owned(),
            entered(TRACE, &["demo", "other"]),
            format!("Lineage=1:00000000:0;{TRACE}"),
        ] {
            let mut header = sent;
            forget(&mut header);
            assert_eq!(header, TRACE);
        }
        let mut alone = "Lineage=1:00000000:0".to_owned();
        forget(&mut alone);
        assert_eq!(alone, "");
    }

    #[test]
    fn no_header_grows_without_end() {
        let names: Vec<String> = (0..40).map(|n| format!("function-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let header = entered(TRACE, &names);
        assert_eq!(times(&header, "function-39"), 1);
        assert_eq!(times(&header, "function-24"), 1);
        assert_eq!(times(&header, "function-23"), 0, "{header}");
        assert!(header.len() < 350, "{}", header.len());
    }
}
