//! How often one may ask the API: so many requests a second for each key, each user, and each address
//! that shows neither or none that is known. And where credentials do not belong.
//!
//! A layer around the API's routes, and asked by `access`. The memory of who asked is bounded; when it
//! is full all begin anew.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use broker_proto::forwarded::ClientAddress;

use super::Api;
use super::access::{self, Visitor};
use super::problem::Problem;
use crate::config::Config;
use crate::hub::session::Budget;

/// Visitors that are remembered.
const VISITORS_MAX: usize = 65_536;
/// Seconds' worth of requests that may come at once.
const BURST_S: u32 = 2;
/// Parameters that would hold a credential. An address is logged by everybody who sees it.
const CREDENTIALS: [&str; 5] = ["key", "api_key", "apikey", "token", "access_token"];

/// What each visitor may still ask.
pub(super) struct Rates {
    rate: u32,
    limit_loopback: bool,
    started: Instant,
    left: Mutex<HashMap<Box<str>, Budget>>,
}

impl Rates {
    /// As the settings say.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            rate: config.api_requests_per_second_max,
            limit_loopback: config.limit_loopback,
            started: Instant::now(),
            left: Mutex::default(),
        }
    }

    /// Counts a request of who has shown a key or a token.
    ///
    /// # Errors
    /// 429: there were too many in this second.
    pub(super) fn take_for(&self, visitor: &Visitor) -> Result<(), Problem> {
        if self.rate == 0 { Ok(()) } else { self.take(&visitor.name()) }
    }

    /// Counts a request of an address that has shown nothing, or nothing that is known.
    fn take_from(&self, address: IpAddr) -> Result<(), Problem> {
        if self.rate == 0 || (address.is_loopback() && !self.limit_loopback) {
            return Ok(());
        }
        self.take(&address.to_string())
    }

    fn take(&self, name: &str) -> Result<(), Problem> {
        if name.is_empty() {
            return Ok(());
        }
        let now_ms = self.started.elapsed().as_millis() as u64;
        // A panic while the lock is held leaves whole values behind.
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() >= VISITORS_MAX && !left.contains_key(name) {
            left.clear();
        }
        let rate = self.rate;
        if left.entry(name.into()).or_default().take(now_ms, rate, rate.saturating_mul(BURST_S)) {
            return Ok(());
        }
        let message = format!("more than {rate} requests a second (api_requests_per_second_max)");
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message))
    }
}

/// Refuses credentials in the address, and counts who shows none that is known.
pub(super) async fn pace(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if has_credential(request.uri()) {
        let message = "keys and tokens stand in `Authorization: Bearer`, never in the address, which \
            proxies and browsers write down; this one should be replaced";
        return Problem::bad_request(message).last().into_response();
    }
    let address = request.extensions().get::<ClientAddress>().map(|client| client.ip);
    let is_foreign = address.is_some_and(|address| !address.is_loopback());
    if is_foreign && api.access.is_open() && request.uri().path().starts_with("/api/v1/") {
        // A proxy on this machine makes nobody who comes through it one of this machine.
        return access::closed().into_response();
    }
    let shows_one = request.headers().contains_key(header::AUTHORIZATION);
    let count = || address.map_or(Ok(()), |address| api.access.rates().take_from(address));
    if !shows_one && let Err(problem) = count() {
        return problem.into_response();
    }
    let response = next.run(request).await;
    if shows_one
        && response.status() == StatusCode::UNAUTHORIZED
        && let Err(problem) = count()
    {
        return problem.last().into_response();
    }
    response
}

fn has_credential(uri: &Uri) -> bool {
    let names =
        uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split('=').next());
    names.map(str::to_ascii_lowercase).any(|name| CREDENTIALS.contains(&&*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_visitor_has_an_allowance_and_this_machine_none_to_keep() {
        let config = Config { api_requests_per_second_max: 3, ..Config::default() };
        let rates = Rates::new(&config);
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let granted = (0..100).filter(|_| rates.take_from(far).is_ok()).count();
        // More comes back while this runs, if it runs for long.
        assert!((6..100).contains(&granted), "{granted}");
        assert!(rates.take_from("192.0.2.2".parse().unwrap()).is_ok());
        assert!((0..100).all(|_| rates.take_from("127.0.0.1".parse().unwrap()).is_ok()));
        let free = Rates::new(&Config::default());
        assert!((0..100).all(|_| free.take_from(far).is_ok()));
    }

    #[test]
    fn the_memory_of_visitors_is_bounded() {
        let config = Config { api_requests_per_second_max: 3, ..Config::default() };
        let rates = Rates::new(&config);
        for number in 0..VISITORS_MAX as u32 + 10 {
            assert!(
                rates.take_from(IpAddr::from(number.to_be_bytes().map(|b| b | 1))).is_ok()
                    || number > 0
            );
        }
        assert!(rates.left.lock().unwrap().len() <= VISITORS_MAX);
    }

    #[test]
    fn a_credential_in_the_address_is_seen_whatever_its_case() {
        let has = |uri: &str| has_credential(&uri.parse().unwrap());
        assert!(has("/api/v1/topics?limit=3&API_KEY=x") && has("/a?token") && has("/a?key=1"));
        assert!(!has("/api/v1/topics?prefix=key") && !has("/api/v1/topics") && !has("/a?keys=1"));
    }
}
