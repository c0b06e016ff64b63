//! A stream of server-sent events (HTML Living Standard §9.2.6) as it comes in pieces: finds the
//! data of each event. Names, ids and comments mean nothing to a load generator. Called by the
//! engine for the body of a response.

/// Finds events in what has come so far.
///
/// ```
/// use loadgen::target::http::Events;
///
/// let mut found = Vec::new();
/// let stream = b": hello\n\nid: 7\ndata: {\"a\":1}\n\ndata: {";
/// let used = Events::read(stream, |data, _end| found.push(data.to_vec()));
/// assert_eq!((used, found), (stream.len() - 7, vec![b"{\"a\":1}".to_vec()]));
/// ```
#[derive(Debug)]
pub struct Events;

impl Events {
    /// Gives `handle` the data of each whole event and where it ends, and returns how many bytes
    /// all these took; what follows is the begin of the next.
    pub fn read(stream: &[u8], mut handle: impl FnMut(&[u8], usize)) -> usize {
        let (mut used, mut at) = (0, 0);
        // The data of most events is one line, which is not copied.
        let (mut first, mut joined): (Option<&[u8]>, Option<Vec<u8>>) = (None, None);
        while let Some(length) = stream[at..].iter().position(|&byte| byte == b'\n') {
            let line = &stream[at..at + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            at += length + 1;
            if line.is_empty() {
                if let Some(data) = joined.as_deref().or(first) {
                    handle(data, at);
                }
                (first, joined, used) = (None, None, at);
            } else if let Some(data) = data_of(line) {
                match (first, &mut joined) {
                    (None, _) => first = Some(data),
                    (Some(first), None) => joined = Some([first, b"\n", data].concat()),
                    (_, Some(joined)) => {
                        joined.push(b'\n');
                        joined.extend_from_slice(data);
                    }
                }
            }
        }
        used
    }
}

fn data_of(line: &[u8]) -> Option<&[u8]> {
    let data = line.strip_prefix(b"data:")?;
    Some(data.strip_prefix(b" ").unwrap_or(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_wherever_the_stream_is_cut() {
        let stream = b"retry: 5\r\n\r\ndata: one\r\n\r\n: quiet\n\nid: 3\ndata:two\ndata: lines\ndata\ndata: !\n\n";
        for cut in 0..=stream.len() {
            let (mut found, mut held) = (Vec::new(), Vec::new());
            for piece in [&stream[..cut], &stream[cut..]] {
                held.extend_from_slice(piece);
                let used = Events::read(&held, |data, _end| {
                    found.push(String::from_utf8(data.to_vec()).unwrap());
                });
                held.drain(..used);
            }
            assert_eq!(found, ["one", "two\nlines\n!"], "cut at {cut}");
            assert!(held.is_empty());
        }
    }
}
