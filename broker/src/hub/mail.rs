//! A turn's mail, taken out of the mailbox and given to whoever deals with its kind, in its order: what
//! waits for more to go out with it is overtaken by other topics' messages only.

use std::sync::Arc;

use super::mailbox::Mail;
use super::message::Message;
use super::topic::Topic;
use super::{Hub, MailStep, TURN_BYTES_MAX};

/// Appended frames, over all sessions, after which it is flushed likewise.
const TURN_DELIVERIES_MAX: usize = 256 * 1024;
/// Places for mail that are kept from turn to turn; what a burst needed above it is given back.
const MAIL_KEPT: usize = 16 * 1024;

impl Hub {
    /// Takes the mailbox's messages to their subscribers' outbox, as far as one turn goes. Those of
    /// topics with a flush delay wait for it, unless somebody is catching up, who needs the mail in
    /// its order.
    pub fn handle_mail(&mut self) -> MailStep {
        if self.mail.is_empty() {
            self.wakes |= self.shared.mailbox(self.worker).take(&mut self.mail);
        }
        let has_catching = self.has_catching();
        if has_catching {
            self.delayed.release();
        }
        let mut deliveries = 0;
        loop {
            if let Some((number, message)) = self.delayed.pop_due(self.now_ms) {
                deliveries += self.deliver(&message, number);
            } else {
                let Some(mail) = self.mail.pop_front() else { break };
                self.taken += 1;
                match mail {
                    Mail::Message(message) if !has_catching && message.topic().flush_ms() > 0 => {
                        self.delay(message);
                    }
                    Mail::Message(message) => {
                        self.keep_order();
                        deliveries += self.deliver(&message, self.taken);
                    }
                    Mail::Drain => {
                        self.deliver_delayed();
                        return MailStep::Drain;
                    }
                    other => self.handle_other(other),
                }
            }
            if self.outbox.bytes() >= TURN_BYTES_MAX || deliveries >= TURN_DELIVERIES_MAX {
                return MailStep::Flush;
            }
        }
        self.mail.shrink_to(MAIL_KEPT);
        MailStep::Done
    }

    /// A message does not wait: earlier ones of its topic may, from before the rules changed.
    fn keep_order(&mut self) {
        let generation = self.shared.directory.rules_generation();
        if !self.delayed.is_empty() && generation != self.rules_generation {
            self.deliver_delayed();
        }
        self.rules_generation = generation;
    }

    fn delay(&mut self, message: Arc<Message>) {
        let due_ms = self.now_ms + u64::from(message.topic().flush_ms());
        self.delayed.push(self.taken, message, due_ms);
    }

    /// Delivers all mail that waits, however much it is.
    pub(super) fn deliver_waiting(&mut self) {
        self.wakes |= self.shared.mailbox(self.worker).take(&mut self.mail);
        self.deliver_delayed();
        while let Some(mail) = self.mail.pop_front_if(|mail| !mail.is_drain()) {
            self.taken += 1;
            match mail {
                Mail::Message(message) => drop(self.deliver(&message, self.taken)),
                other => self.handle_other(other),
            }
        }
    }

    /// Mail that is no message.
    fn handle_other(&mut self, mail: Mail) {
        match mail {
            Mail::Presence(change) => {
                self.let_pass(&change.topic);
                self.deliver_presence(&change);
            }
            Mail::Silence(silence) => {
                self.let_pass(&silence.topic);
                self.deliver_silence(&silence);
            }
            Mail::Gap(gap) => {
                self.let_pass(&gap.topic);
                self.deliver_gap(&gap);
            }
            Mail::Renumbered(topic, epoch) => {
                self.let_pass(&topic);
                self.deliver_renumbered(&topic, epoch);
            }
            Mail::Members(members) => self.deliver_members(&members),
            Mail::Changed(topic) => self.changed.push(topic),
            Mail::Settled(settled) => self.deliver_settled(&settled),
            Mail::Made(topic) => self.linger(topic, self.now_ms),
            Mail::Question(question) => self.asked.push(question),
            Mail::Message(_) | Mail::Drain => {}
        }
    }

    /// What is told of a topic must not come before the messages that came before it.
    fn let_pass(&mut self, topic: &Topic) {
        if topic.flush_ms() > 0 || !self.delayed.is_empty() {
            self.deliver_delayed();
        }
    }
}
