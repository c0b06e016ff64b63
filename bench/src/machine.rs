//! What was measured on, in a few words for tables and plots: the processor, its cores, the kernel,
//! and our own version. Reads `/proc`; asked by whatever writes results.

use std::fmt;
use std::fs;

/// A machine, as far as a reader of a result wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// What the processor calls itself; empty if it does not say.
    pub processor: String,
    /// How many cores there are to use.
    pub cores: usize,
    /// The kernel's release; empty if it does not say.
    pub kernel: String,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            processor: processor(&read("/proc/cpuinfo")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.cores == 1 { "core" } else { "cores" };
        if !self.processor.is_empty() {
            write!(f, "{}, ", self.processor)?;
        }
        write!(f, "{} {word}", self.cores)?;
        if !self.kernel.is_empty() {
            write!(f, ", Linux {}", self.kernel)?;
        }
        write!(f, "; Altavoz {}", env!("CARGO_PKG_VERSION"))
    }
}

fn processor(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    name.and_then(|rest| rest.split_once(':')).map_or("", |(_, name)| name.trim()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_in_one_line() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nmodel name\t: x\n";
        let machine =
            Machine { processor: processor(cpuinfo), cores: 2, kernel: "6.18.5".to_owned() };
        let text = machine.to_string();
        assert!(text.starts_with("Some CPU @ 2.00GHz, 2 cores, Linux 6.18.5; Altavoz "), "{text}");
        assert_eq!(processor(""), "");
    }
}
