//! What a subscription asks for beyond every message from now on, in the protocols that know such
//! options. Says nothing of when; asked by the engine.

use broker_proto::command::SubscribeOptions;
use broker_proto::ws::Opcode;

use super::native::Encoding;
use super::{Protocol, Target, Wait};

/// One subscribe.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// What the answer names.
    pub id: u64,
    /// The topic or filter; valid, since the plan made it.
    pub filter: &'a str,
    /// How it is to be delivered.
    pub options: SubscribeOptions<'a>,
}

impl<'a> Wish<'a> {
    /// Every message from now on.
    #[must_use]
    pub fn plain(id: u64, filter: &'a str) -> Self {
        Self { id, filter, options: SubscribeOptions::default() }
    }
}

impl Protocol {
    /// Whether a subscribe can ask for more than every message from now on.
    #[must_use]
    pub fn has_options(self) -> bool {
        self.encoding().is_some()
    }

    /// Which of the two that have options it is.
    fn encoding(self) -> Option<Encoding> {
        match self {
            Self::Json => Some(Encoding::Json),
            Self::Bin => Some(Encoding::Bin),
            _ => None,
        }
    }
}

impl Target {
    /// As [`open`](Self::open), with options. A protocol that has none gets the filters alone.
    ///
    /// With `asks_number`, the session is asked for its number, which comes as
    /// [`Incoming::Session`](super::Incoming::Session).
    pub fn open_with(
        &self,
        wishes: &[Wish<'_>],
        asks_number: bool,
        send: impl FnMut(&[u8]),
    ) -> Wait {
        match self.protocol.encoding() {
            Some(encoding) => encoding.open(&self.access, wishes, asks_number, send),
            None => {
                let filters: Vec<&str> = wishes.iter().map(|wish| wish.filter).collect();
                self.open(&filters, send)
            }
        }
    }

    /// The command that subscribes in a session that is open, and what it travels in; none in a
    /// protocol without options.
    #[must_use]
    pub fn subscribe(&self, wish: &Wish<'_>) -> Option<(Opcode, Vec<u8>)> {
        let encoding = self.protocol.encoding()?;
        let mut command = Vec::new();
        encoding.subscribe(&mut command, wish);
        Some((self.protocol.opcode(), command))
    }

    /// The command that ends a subscription, and what it travels in; none in a protocol without
    /// options.
    #[must_use]
    pub fn unsubscribe(&self, id: u64, filter: &str) -> Option<(Opcode, Vec<u8>)> {
        let encoding = self.protocol.encoding()?;
        let mut command = Vec::new();
        encoding.unsubscribe(&mut command, id, filter);
        Some((self.protocol.opcode(), command))
    }
}

#[cfg(test)]
mod tests {
    use broker_proto::command::{Epoch, Position, Since};

    use super::*;

    #[test]
    fn options_are_written_as_the_protocol_has_them() {
        let mut wish = Wish::plain(7, "a/+");
        wish.options.last = true;
        wish.options.latest = true;
        wish.options.max_rate = Some(5.0);
        let command = |protocol, wish: &Wish<'_>| {
            let target = Target::resolve("ws://127.0.0.1:1/", protocol).unwrap();
            target.subscribe(wish).map(|(_, command)| command)
        };
        let expected =
            br#"{"id":7,"op":"subscribe","topic":"a/+","last":true,"mode":"latest","max_rate":5}"#;
        assert_eq!(command(Protocol::Json, &wish).unwrap(), expected);
        let at = Position { epoch: Epoch::new(35), seq: 41 };
        let options = SubscribeOptions { since: Some(Since::At(at)), ..Default::default() };
        let wish = Wish { id: 2, filter: "a", options };
        let expected = b"\x82\x02\x01a{\"since\":{\"epoch\":\"z\",\"seq\":41}}";
        assert_eq!(command(Protocol::Bin, &wish).unwrap(), expected);
        assert!(!Protocol::Mqtt.has_options());
        assert_eq!(command(Protocol::Mqtt, &wish), None);
    }
}
