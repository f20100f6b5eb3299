//! Generated NDJSON: customer records, wide and full of nulls, the same ones each time.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context;

/// Fields that are null in most records of a real customer file, in three ways of being
/// filled when they are not.
const MONEY: [&str; 6] = [
    "first_order_revenue",
    "second_order_revenue",
    "latest_order_revenue",
    "lifetime_order_revenue",
    "lifetime_average_order_value",
    "lifetime_largest_order_value",
];
const COUNTS: [&str; 6] = [
    "first_order_total_items",
    "second_order_total_items",
    "latest_order_total_items",
    "lifetime_total_items",
    "lifetime_order_frequency",
    "lifetime_average_num_items",
];
const TEXTS: [&str; 8] = [
    "first_order_datetime",
    "second_order_datetime",
    "latest_order_datetime",
    "first_order_id",
    "second_order_id",
    "latest_order_id",
    "lifetime_preferred_purchase_brand",
    "lifetime_preferred_purchase_channel",
];
const FLAGS: [&str; 6] = [
    "one_and_done",
    "early_repeat_purchaser",
    "multi_purchase_brand",
    "multi_purchase_channel",
    "first_order_is_retained",
    "second_order_is_retained",
];

/// How much was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Writes whole records until the file has at least this many bytes.
pub(crate) fn write_file(path: &Path, at_least: u64) -> anyhow::Result<Written> {
    let file =
        std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut written = Written {
        records: 0,
        bytes: 0,
    };
    let mut line = String::new();
    while written.bytes < at_least {
        line.clear();
        record(written.records, &mut line);
        file.write_all(line.as_bytes())
            .context("cannot write the generated records")?;
        written.records += 1;
        written.bytes += line.len() as u64;
    }
    file.flush().context("cannot write the generated records")?;
    Ok(written)
}

/// Appends record number `index` and a newline.
fn record(index: u64, line: &mut String) {
    let mut dice = Dice(index);
    let id = dice.roll();
    // Writing to a String cannot fail.
    write!(
        line,
        "{{\"amperity_id\":\"{:08x}-{:04x}-3e8a-8864-{:012x}\",\"full_name\":\"Customer {index}\",\
         \"given_name\":\"Customer\",\"surname\":\"{index}\",\"email\":\"customer{index}@example.com\",\
         \"phone\":\"{:03}-555-{:04}\",\"address\":\"{} Main Street\",\"city\":\"Springfield\",\"state\":\"WA\",\
         \"postal\":\"{:05}\",\"gender\":\"F\",\"birthdate\":\"19{:02}-07-19\"",
        id >> 32,
        id & 0xffff,
        dice.roll() & 0xffff_ffff_ffff,
        dice.below(1000),
        dice.below(10_000),
        dice.below(10_000),
        dice.below(100_000),
        30 + dice.below(70),
    )
    .ok();
    // Every other customer has never ordered.
    let ordered = dice.below(2) == 1;
    for name in MONEY {
        field(
            line,
            name,
            ordered,
            &format!("\"{}.{:02}\"", dice.below(1000), dice.below(100)),
        );
    }
    for name in COUNTS {
        field(line, name, ordered, &dice.below(40).to_string());
    }
    for name in TEXTS {
        field(
            line,
            name,
            ordered,
            &format!("\"2022-06-16T16:35:{:02}.005Z\"", dice.below(60)),
        );
    }
    for name in FLAGS {
        field(
            line,
            name,
            ordered,
            if dice.below(2) == 1 { "true" } else { "false" },
        );
    }
    line.push_str("}\n");
}

fn field(line: &mut String, name: &str, filled: bool, value: &str) {
    write!(line, ",\"{name}\":{}", if filled { value } else { "null" }).ok();
}

/// SplitMix64: small, fast, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_line_is_a_wide_record_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.ndjson");
        let written = write_file(&path, 100_000).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.len() as u64, written.bytes);
        assert_eq!(text.lines().count() as u64, written.records);
        let records: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let ids: std::collections::HashSet<_> = records
            .iter()
            .map(|record| record["amperity_id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), records.len());
        assert!(
            records
                .iter()
                .all(|record| record.as_object().unwrap().len() == 38)
        );
        let without_orders = records
            .iter()
            .filter(|record| record["latest_order_id"].is_null())
            .count();
        assert!(without_orders > 0 && without_orders < records.len());
    }
}
