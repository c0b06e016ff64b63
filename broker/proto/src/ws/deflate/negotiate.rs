//! What is offered and what is answered (RFC 7692 §5, §7.1): the client's [`Offer`], the server's
//! choice among several, and the client's check of the answer.
//!
//! The grammar of the header is read elsewhere, by the handshake; here each parameter is held
//! against its rules. Called by the handshake of either role.

use std::fmt;

use super::{Agreement, EXTENSION, Terms, WindowBits};
use crate::handshake;

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// What a client asks for. Its `Display` is the value of Sec-WebSocket-Extensions.
///
/// ```
/// use broker_proto::ws::deflate::Offer;
///
/// assert_eq!(Offer::BROWSER.to_string(), "permessage-deflate; client_max_window_bits");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// What is demanded of the server: it must grant it or decline (§7.1.1.1, §7.1.2.1).
    pub server: Terms,
    /// How this client means to compress. With window bits named, 15 included, the server may ask
    /// for fewer (§7.1.2.2); with `None` it may not.
    pub client: Terms,
}

/// Why a server's answer opens no connection (RFC 7692 §5.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A parameter that is none of the four, is there twice, or has a value it must not have.
    #[error("the parameter {0} is unknown, repeated, or has a wrong value")]
    Malformed(String),
    /// A demand on the server that it neither granted nor declined.
    #[error("{0} was demanded and is missing in the answer")]
    Missing(&'static str),
    /// `client_max_window_bits`, where the offer did not allow it.
    #[error("client_max_window_bits was not offered")]
    NotOffered,
    /// A window for the server that is larger than was demanded.
    #[error("server_max_window_bits={answered} is over the {demanded} demanded")]
    TooWide {
        /// What the answer says.
        answered: u8,
        /// What the offer said.
        demanded: u8,
    },
}

/// The first offer that is valid, answered by a server that wants to compress as `server`
/// says and its client to as `client` says; `None` to go without compression. An offer with an
/// unknown, repeated or wrong parameter is passed over (§7.1).
///
/// What a client demands of the server is granted. A window for the client is only asked for
/// where the offer allows it.
pub fn select(offers: &[handshake::Offer<'_>], server: Terms, client: Terms) -> Option<Agreement> {
    let valid = offers.iter().filter(|offer| offer.name == EXTENSION).find_map(Offer::read)?;
    Some(valid.accept(server, client))
}

impl Offer {
    /// What browsers offer: no demands, and the server may choose the client's window.
    pub const BROWSER: Self = Self {
        server: Terms { no_context_takeover: false, window_bits_max: None },
        client: Terms { no_context_takeover: false, window_bits_max: Some(WindowBits::MAX) },
    };

    fn read(offer: &handshake::Offer<'_>) -> Option<Self> {
        let named = Named::read(offer).ok()?;
        let client_bits = named.client_bits.map(|bits| bits.unwrap_or(WindowBits::MAX));
        Some(Self {
            server: named.server_terms()?,
            client: Terms {
                no_context_takeover: named.client_no_context_takeover,
                window_bits_max: client_bits,
            },
        })
    }

    fn accept(&self, server: Terms, client: Terms) -> Agreement {
        let smaller = |wanted: Option<WindowBits>| wanted.filter(|&bits| bits < WindowBits::MAX);
        let server_bits = match self.server.window_bits_max {
            Some(demanded) => Some(demanded.min(server.window_bits())),
            None => smaller(server.window_bits_max),
        };
        let client_bits = match self.client.window_bits_max {
            Some(offered) => smaller(client.window_bits_max).map(|wanted| wanted.min(offered)),
            None => None,
        };
        Agreement {
            server: Terms {
                no_context_takeover: self.server.no_context_takeover || server.no_context_takeover,
                window_bits_max: server_bits,
            },
            client: Terms {
                no_context_takeover: self.client.no_context_takeover || client.no_context_takeover,
                window_bits_max: client_bits,
            },
        }
    }

    /// Checks the server's answer to this offer. The client's own terms in the agreement are no
    /// wider than those offered.
    ///
    /// # Errors
    ///
    /// If the answer breaks the rules or takes back what was demanded: the connection is to be
    /// failed.
    pub fn verify(&self, answer: &handshake::Offer<'_>) -> Result<Agreement, AnswerError> {
        let named = Named::read(answer).map_err(AnswerError::Malformed)?;
        let wrong = |name: &str| AnswerError::Malformed(name.to_owned());
        let server = named.server_terms().ok_or_else(|| wrong(SERVER_MAX_WINDOW_BITS))?;
        if self.server.no_context_takeover && !server.no_context_takeover {
            return Err(AnswerError::Missing(SERVER_NO_CONTEXT_TAKEOVER));
        }
        match (self.server.window_bits_max, server.window_bits_max) {
            (Some(_), None) => return Err(AnswerError::Missing(SERVER_MAX_WINDOW_BITS)),
            (Some(demanded), Some(answered)) if answered > demanded => {
                let (answered, demanded) = (answered.value(), demanded.value());
                return Err(AnswerError::TooWide { answered, demanded });
            }
            _ => {}
        }
        let client_bits = match (self.client.window_bits_max, named.client_bits) {
            (offered, None) => offered,
            (_, Some(None)) => return Err(wrong(CLIENT_MAX_WINDOW_BITS)),
            (None, Some(_)) => return Err(AnswerError::NotOffered),
            (Some(offered), Some(Some(answered))) => Some(offered.min(answered)),
        };
        let client = Terms {
            no_context_takeover: self.client.no_context_takeover
                || named.client_no_context_takeover,
            window_bits_max: client_bits,
        };
        Ok(Agreement { server, client })
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXTENSION)?;
        write_terms(f, "server", self.server)?;
        match self.client.window_bits_max {
            Some(WindowBits::MAX) => {
                write_terms(f, "client", Terms { window_bits_max: None, ..self.client })?;
                write!(f, "; {CLIENT_MAX_WINDOW_BITS}")
            }
            _ => write_terms(f, "client", self.client),
        }
    }
}

/// The two parameters of one end.
pub(super) fn write_terms(f: &mut fmt::Formatter<'_>, end: &str, terms: Terms) -> fmt::Result {
    if terms.no_context_takeover {
        write!(f, "; {end}_no_context_takeover")?;
    }
    match terms.window_bits_max {
        Some(bits) => write!(f, "; {end}_max_window_bits={}", bits.value()),
        None => Ok(()),
    }
}

/// The four parameters as they stand, each at most once. A number that is there is valid.
#[derive(Default)]
struct Named {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_bits: Option<Option<WindowBits>>,
    client_bits: Option<Option<WindowBits>>,
}

impl Named {
    /// The error names the parameter that is wrong.
    fn read(offer: &handshake::Offer<'_>) -> Result<Self, String> {
        let mut named = Self::default();
        for (name, value) in &offer.params {
            let is_right = match (*name, value.as_deref()) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => {
                    is_first(&mut named.server_no_context_takeover)
                }
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => {
                    is_first(&mut named.client_no_context_takeover)
                }
                (SERVER_MAX_WINDOW_BITS, value) => keep_bits(&mut named.server_bits, value),
                (CLIENT_MAX_WINDOW_BITS, value) => keep_bits(&mut named.client_bits, value),
                _ => false,
            };
            if !is_right {
                return Err((*name).to_owned());
            }
        }
        Ok(named)
    }

    /// `None` if `server_max_window_bits` lacks its number (§7.1.2.1).
    fn server_terms(&self) -> Option<Terms> {
        let window_bits_max = match self.server_bits {
            None => None,
            Some(bits) => Some(bits?),
        };
        Some(Terms { no_context_takeover: self.server_no_context_takeover, window_bits_max })
    }
}

fn is_first(seen: &mut bool) -> bool {
    !std::mem::replace(seen, true)
}

/// A decimal number from 8 to 15 without leading zeros (§7.1.2), or none.
fn keep_bits(slot: &mut Option<Option<WindowBits>>, value: Option<&str>) -> bool {
    let bits = match value {
        None => None,
        Some(text @ ("8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")) => {
            text.parse().ok().and_then(WindowBits::new)
        }
        Some(_) => return false,
    };
    slot.replace(bits).is_none()
}
