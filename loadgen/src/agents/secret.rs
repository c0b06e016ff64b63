//! How a run proves to an agent that it knows the token, without sending it: HMAC-SHA-256 (RFC
//! 2104) of a nonce that the agent drew. Says nothing about who the agent is, and hides nothing
//! else. Called by both ends of the handshake.

use std::fs::File;
use std::io::{self, Read as _};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Where random bytes come from.
const RANDOM: &str = "/dev/urandom";

/// Bytes that nobody can foresee.
///
/// # Errors
///
/// If the system has none.
pub(super) fn nonce() -> io::Result<[u8; 16]> {
    let mut nonce = [0; 16];
    File::open(RANDOM)?.read_exact(&mut nonce)?;
    Ok(nonce)
}

/// What proves that one knows the token.
#[must_use]
pub(super) fn proof(token: &str, nonce: &[u8; 16]) -> [u8; 32] {
    keyed(token, nonce).finalize().into_bytes().into()
}

/// Whether this is such a proof. Takes as long for any that is not.
#[must_use]
pub(super) fn is_proof(token: &str, nonce: &[u8; 16], proof: &[u8; 32]) -> bool {
    keyed(token, nonce).verify_slice(proof).is_ok()
}

fn keyed(token: &str, nonce: &[u8; 16]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(token.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(nonce);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_one_token_and_one_nonce() {
        let nonce = *b"0123456789abcdef";
        let made = proof("key", &nonce);
        // printf 0123456789abcdef | openssl dgst -sha256 -hmac key
        assert_eq!(made[..4], [0xb0, 0x34, 0x9a, 0x88]);
        assert!(is_proof("key", &nonce, &made));
        assert!(!is_proof("kez", &nonce, &made));
        assert!(!is_proof("key", b"0123456789abcdeg", &made));
        assert!(!is_proof("", &nonce, &made));
    }
}
