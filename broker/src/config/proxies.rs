//! The settings about proxies in front of the broker: which are trusted, and how they tell whom they
//! speak for.
//!
//! Values only; a part of `Config`, which says how they are read. `proxies` decides by them.

use clap::{Args, Parser, ValueEnum};
use ipnet::IpNet;
use serde::Serialize;

/// The settings about proxies. Without trusted ones, a client is where its connection comes from.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Proxies {
    /// Address or net (CIDR) of a proxy whose word about its clients is taken; repeatable or
    /// comma-separated; none: nobody's
    #[serde(rename = "trusted_proxies")]
    #[arg(id = "trusted_proxies", long = "trusted-proxies", help_heading = "Proxies")]
    #[arg(value_name = "NET", value_delimiter = ',', value_parser = net)]
    pub trusted: Vec<String>,

    /// How trusted proxies tell whom they speak for: x_forwarded_for or forwarded, the header of that
    /// name, or proxy_protocol, version 1 or 2, with which each of their connections must begin
    #[arg(long, help_heading = "Proxies", value_name = "HOW", hide_possible_values = true)]
    #[arg(value_enum, default_value_t = ClientAddressFrom::XForwardedFor)]
    pub client_address_from: ClientAddressFrom,
}

/// How trusted proxies tell whom they speak for. One way only: a proxy passes on what a client says
/// in any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ClientAddressFrom {
    /// The header `X-Forwarded-For`.
    XForwardedFor,
    /// The header `Forwarded` (RFC 7239).
    Forwarded,
    /// A header of the PROXY protocol before anything else.
    ProxyProtocol,
}

impl Proxies {
    /// The nets that are trusted.
    pub fn nets(&self) -> Vec<IpNet> {
        self.trusted.iter().filter_map(|net| parse(net)).collect()
    }
}

impl Default for Proxies {
    fn default() -> Self {
        /// The settings as a program of their own, for their defaults stand in the attributes.
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            proxies: Proxies,
        }
        let no_arguments = std::iter::empty::<&str>();
        Alone::try_parse_from(no_arguments).expect("every default is within its own range").proxies
    }
}

/// A net, or the net of one address.
fn parse(text: &str) -> Option<IpNet> {
    let net = text.parse().ok();
    net.or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

fn net(text: &str) -> Result<String, String> {
    let text = text.trim();
    match parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("an IP address, or a net such as 10.0.0.0/8 or 2001:db8::/32".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_net_of_one() {
        let trusted = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"].map(str::to_owned).to_vec();
        let nets = Proxies { trusted, ..Proxies::default() }.nets();
        let holds = |ip: &str| {
            nets.iter().any(|net| net.contains(&ip.parse::<std::net::IpAddr>().unwrap()))
        };
        assert!(holds("10.255.0.1") && holds("192.0.2.1") && holds("2001:db8::9"));
        assert!(!holds("192.0.2.2") && !holds("11.0.0.1") && !holds("::1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "10.0.0.1:80", "*"] {
            assert!(net(wrong).is_err(), "{wrong:?}");
        }
    }
}
