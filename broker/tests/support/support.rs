//! What the tests that look at the broker from outside have in common: the running broker, a
//! WebSocket client that can also misbehave, plain HTTP, and other people's tools.
//!
//! Holds no tests. A test file takes it in with
//! `#[path = "support/support.rs"] mod support;` and uses the parts it needs.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod broker;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod tls;
pub(crate) mod tools;
pub(crate) mod ws_client;
