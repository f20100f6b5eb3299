//! What the figures were taken on.

use std::fmt;

/// The machine, as its kernel describes it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: Option<f64>,
    kernel: String,
    load: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        #[expect(clippy::cast_precision_loss, reason = "a size to be read by people")]
        let memory_gib = memory
            .and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok())
            .map(|kib| kib as f64 / 1_048_576.0);
        let release = read("/proc/sys/kernel/osrelease");
        let load = read("/proc/loadavg");
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gib,
            kernel: if release.trim().is_empty() {
                std::env::consts::OS.to_owned()
            } else {
                format!("Linux {}", release.trim())
            },
            load: load
                .split_whitespace()
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} cores, ", self.cpu, self.cores)?;
        if let Some(memory) = self.memory_gib {
            write!(f, "{memory:.0} GiB, ")?;
        }
        write!(f, "{}, {}", self.kernel, std::env::consts::ARCH)?;
        if !self.load.is_empty() {
            write!(f, "; load average at the end {}", self.load)?;
        }
        Ok(())
    }
}

/// The first value of a `name : value` page.
fn field(page: &str, name: &str) -> Option<String> {
    page.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_value_of_a_name() {
        let page = "processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nmodel name\t: another\n";
        assert_eq!(field(page, "model name").as_deref(), Some("A CPU @ 2 GHz"));
        assert_eq!(field(page, "MemTotal"), None);
    }
}
