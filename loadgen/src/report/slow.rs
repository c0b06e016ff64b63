//! What became of the subscribers that read slowly, apart from the others. Adds up what the
//! workers noted; shown by the text and JSON forms of a report.

use hdrhistogram::Histogram;

use crate::account::{Account, Totals};
use crate::engine::{SlowBook, Tally, histogram};

/// The slow readers of a run.
#[derive(Debug)]
pub struct SlowReaders {
    /// The sums of their accounts. That of a connection which the server ended is closed where it
    /// ended: up to there, everything must have come.
    pub totals: Totals,
    /// Messages published after that, or before but never sent.
    pub after_cut: u64,
    /// From the intended send to the arrival, in nanoseconds.
    pub latency: Histogram<u64>,
    /// How their connections ended where that is to be expected, by close code and reason.
    pub closes: Tally,
}

impl SlowReaders {
    pub(super) fn new() -> Self {
        let (totals, closes) = (Totals::default(), Tally::default());
        Self { totals, after_cut: 0, latency: histogram(), closes }
    }

    /// Adds an account, given how many messages were published on its topic.
    pub(super) fn close(&mut self, account: &Account, published: u64, is_cut: bool) {
        let end = if is_cut { account.last().min(published) } else { published };
        self.totals.add(&account.close(end));
        self.after_cut += published - end;
    }

    /// Adds what a worker noted.
    pub(super) fn add(&mut self, book: SlowBook) {
        self.closes.merge(book.closes);
        self.latency.add(book.latency).expect("all histograms have one shape");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_was_cut_must_have_got_everything_up_to_there_and_others_everything() {
        let mut account = Account::default();
        account.handle_message(1, Some(1));
        account.handle_message(2, Some(2));
        let mut readers = SlowReaders::new();
        readers.close(&account, 10, true);
        assert!(readers.totals.is_clean());
        assert_eq!((readers.totals.delivered, readers.after_cut), (2, 8));
        account.handle_message(4, Some(4));
        readers.close(&account, 10, true);
        assert_eq!((readers.totals.lost, readers.totals.seq_breaks), (1, 1));
        readers.close(&Account::default(), 10, false);
        assert_eq!(readers.totals.lost, 11);
    }
}
