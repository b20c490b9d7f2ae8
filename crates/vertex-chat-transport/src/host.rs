//! Hosts of URLs.

use std::net::IpAddr;

/// Whether a host, as a URL or a `Host` header has it, is this machine: `localhost`, `127.0.0.0/8` or `::1`.
///
/// ```
/// use vertex_chat_transport::is_loopback;
///
/// assert!(is_loopback("LOCALHOST") && is_loopback("127.1.2.3") && is_loopback("[::1]"));
/// assert!(!is_loopback("10.0.0.1") && !is_loopback("localhost.example"));
/// ```
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
