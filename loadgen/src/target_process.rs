//! The process under load, seen from outside: its processor time and memory in `/proc`, and what
//! its metrics page says of writes. Never touches the process; asked by the watch once a second.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How long each step of asking for the metrics page may take: long, since only the end of a run
/// waits for it.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest page that is read; the rest is left.
const PAGE_BYTES_MAX: u64 = 4 << 20;

/// The counter of writes to sockets in the target's metrics.
const SENDS: &str = "altavoz_sends_total";

/// What a process has used and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all its threads, user's and system's.
    pub cpu_ns: u64,
    /// Memory that is in use and resident.
    pub rss_bytes: u64,
}

impl Usage {
    /// Of the process with this id; none if it does not run, or there is no `/proc`.
    ///
    /// ```
    /// # if cfg!(target_os = "linux") {
    /// use loadgen::target_process::Usage;
    ///
    /// assert!(Usage::of(std::process::id()).unwrap().rss_bytes > 0);
    /// assert_eq!(Usage::of(0), None);
    /// # }
    /// ```
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        let usage = Self::parse(&stat, ticks_per_second, rustix::param::page_size() as u64)?;
        Some(Self { cpu_ns: process_clock_ns(pid).unwrap_or(usage.cpu_ns), ..usage })
    }

    /// proc_pid_stat(5): the name stands in parentheses and may hold anything; after it, utime,
    /// stime and rss are the 12th, 13th and 22nd word.
    fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Self> {
        let (_, after_name) = stat.rsplit_once(')')?;
        let words: Vec<&str> = after_name.split_whitespace().collect();
        let number = |at: usize| words.get(at)?.parse::<u64>().ok();
        let ticks = number(11)? + number(12)?;
        let cpu_ns =
            (u128::from(ticks) * 1_000_000_000 / u128::from(ticks_per_second.max(1))) as u64;
        Some(Self { cpu_ns, rss_bytes: number(21)? * page_bytes })
    }
}

/// The processor time of a process by its own clock, in nanoseconds: `/proc` has it in ticks of ten
/// milliseconds, which is as much as some thousand deliveries.
#[cfg(target_os = "linux")]
fn process_clock_ns(pid: u32) -> Option<u64> {
    use nix::time::{clock_getcpuclockid, clock_gettime};
    use nix::unistd::Pid;

    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    let time = clock_gettime(clock).ok()?;
    let (seconds, nanos) = (time.tv_sec(), time.tv_nsec());
    Some(u64::try_from(seconds).ok()? * 1_000_000_000 + u64::try_from(nanos).ok()?)
}

#[cfg(not(target_os = "linux"))]
fn process_clock_ns(_pid: u32) -> Option<u64> {
    None
}

/// A page of metrics in Prometheus' text format, over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsPage {
    authority: String,
    path: String,
}

impl MetricsPage {
    /// `http://host:port/path`; without a port it is 80.
    ///
    /// # Errors
    ///
    /// A sentence for the user if it is something else.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").ok_or("must begin with http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
        if authority.is_empty() || rest.contains(char::is_whitespace) {
            return Err("must be http://host:port/path".into());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if has_port { "" } else { ":80" };
        Ok(Self { authority: format!("{authority}{port}"), path: format!("/{path}") })
    }

    /// How many writes to sockets the target has made since its start; none if it does not tell.
    #[must_use]
    pub fn sends(&self) -> Option<u64> {
        sum_of(&self.fetch().ok()?, SENDS)
    }

    /// In HTTP/1.0, so that the body comes whole and ends with the connection.
    fn fetch(&self) -> io::Result<String> {
        let address = self.authority.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&address, PAGE_TIMEOUT)?;
        stream.set_read_timeout(Some(PAGE_TIMEOUT))?;
        stream.set_write_timeout(Some(PAGE_TIMEOUT))?;
        let request = format!("GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", self.path, self.authority);
        stream.write_all(request.as_bytes())?; // at once: a server may answer the first segment
        let mut page = Vec::new();
        stream.take(PAGE_BYTES_MAX).read_to_end(&mut page)?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }
}

/// The sum of a counter over all its labels; none if the page does not have it.
fn sum_of(page: &str, name: &str) -> Option<u64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    values.reduce(|sum, value| sum + value).map(|sum| sum as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let numbers =
            "S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 4 0 100 90000 300 18446744073709551615";
        let usage = Usage::parse(&format!("42 (a) b (c) {numbers}"), 100, 4096);
        assert_eq!(usage, Some(Usage { cpu_ns: 4_000_000_000, rss_bytes: 300 * 4096 }));
        assert_eq!(Usage::parse("42 (short) S 1", 100, 4096), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processor_time_is_finer_than_ticks() {
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        let looks = (0..100).map(|_| Usage::of(std::process::id()).unwrap().cpu_ns);
        assert!(looks.into_iter().any(|cpu_ns| cpu_ns % tick_ns != 0));
    }

    #[test]
    fn a_counter_is_added_up_over_its_labels() {
        let page = "HTTP/1.0 200 OK\r\n\r\n# HELP altavoz_sends_total writes\n\
                    altavoz_sends_total{worker=\"0\"} 40\naltavoz_sends_total{worker=\"1\"} 2.0 17\n\
                    altavoz_sends_total_more 9\n";
        assert_eq!(sum_of(page, SENDS), Some(42));
        assert_eq!(sum_of("altavoz_sends_total 7\n", SENDS), Some(7));
        assert_eq!(sum_of("# TYPE altavoz_sends_total counter\n", SENDS), None);
    }

    #[test]
    fn an_address_of_metrics_has_a_port_and_a_path() {
        let page = |url| MetricsPage::parse(url).map(|page| page.authority + " " + &page.path);
        assert_eq!(page("http://h:8080/m?x=1").unwrap(), "h:8080 /m?x=1");
        assert_eq!(page("http://127.0.0.1").unwrap(), "127.0.0.1:80 /metrics");
        assert_eq!(page("http://[::1]/m").unwrap(), "[::1]:80 /m");
        assert!(page("https://h/m").is_err() && page("http://").is_err());
    }
}
