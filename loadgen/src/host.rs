//! What the machine itself says in `/proc`: processor time in total and stolen by the host of a
//! virtual machine, and single numbers of the kernel's settings. Reads files, decides nothing;
//! called by the watch and by the doctor.

use std::fs;

/// Where Linux counts processor time.
const STAT: &str = "/proc/stat";

/// Processor time of the whole machine since it was started, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCpu {
    /// All of it, idle or not.
    pub total: u64,
    /// What other guests of the same host got while this one had work to do.
    pub stolen: u64,
}

impl HostCpu {
    /// What it is now; none where there is no `/proc/stat`.
    #[must_use]
    pub fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string(STAT).ok()?)
    }

    /// The share of the time since `earlier` that was stolen, from 0 to 1.
    ///
    /// ```
    /// use loadgen::host::HostCpu;
    ///
    /// let before = HostCpu { total: 1000, stolen: 10 };
    /// let after = HostCpu { total: 1200, stolen: 15 };
    /// assert_eq!(after.stolen_share_since(before), 0.025);
    /// ```
    #[must_use]
    pub fn stolen_share_since(self, earlier: Self) -> f64 {
        let total = self.total.saturating_sub(earlier.total).max(1);
        self.stolen.saturating_sub(earlier.stolen) as f64 / total as f64
    }

    /// The first line: `cpu`, then user, nice, system, idle, iowait, irq, softirq and steal. What
    /// follows is part of user and nice.
    fn parse(text: &str) -> Option<Self> {
        let numbers = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = numbers.take(8).map_while(|number| number.parse().ok()).collect();
        Some(Self { total: ticks.iter().sum(), stolen: *ticks.get(7)? })
    }
}

/// The numbers in a file of `/proc`, as far as it holds numbers alone; empty if it can't be read.
#[must_use]
pub fn numbers_in(path: &str) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eighth_number_of_the_first_line_is_what_was_stolen() {
        let text = "cpu  100 1 50 800 4 0 5 40 7 8\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(HostCpu::parse(text), Some(HostCpu { total: 1000, stolen: 40 }));
        assert_eq!(HostCpu::parse("cpu  1 2 3\n"), None);
        assert_eq!(HostCpu::parse("intr 1\n"), None);
    }
}
