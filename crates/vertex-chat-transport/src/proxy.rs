//! Which connections go through a proxy, and the tunnel through it.

use std::net::IpAddr;

use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::client::{HostAndPort, deepest};
use crate::{LogText, Proxy, Sent, TransportError, TransportErrorKind, is_loopback, without_surroundings};

/// The variables that name a proxy for `https`, in the order in which they count. The first that has a value wins.
pub const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// The variables that name what is reached without it, in the same way.
pub const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// The longest head of a proxy's answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// How much of a proxy's reason is shown, in characters.
const REASON_CHARS_MAX: usize = 80;

/// The proxy of a connector, and what is reached without it. A value that cannot be used is a fault only of a connection that
/// would go through it.
#[derive(Clone)]
pub(crate) struct Proxies {
    /// Where the URL was named: a variable, or the program.
    named_by: &'static str,
    url: String,
    no_proxy: NoProxy,
}

/// The way to one server.
pub(crate) struct Via {
    proxy: Uri,
    authorization: Option<HeaderValue>,
    named_by: &'static str,
}

impl Proxies {
    /// `None` where no proxy is named.
    pub(crate) fn of(proxy: &Proxy) -> Option<Self> {
        match proxy {
            Proxy::Off => None,
            Proxy::Url { url, no_proxy } => Some(Self {
                named_by: "the given proxy",
                url: url.clone(),
                no_proxy: NoProxy::parse(no_proxy),
            }),
            Proxy::FromEnvironment => {
                let (named_by, url) = first_variable(&PROXY_VARIABLES)?;
                let no_proxy = first_variable(&NO_PROXY_VARIABLES).map(|it| it.1).unwrap_or_default();
                Some(Self { named_by, url, no_proxy: NoProxy::parse(&no_proxy) })
            }
        }
    }

    /// The way to a server; `None` is the direct one.
    pub(crate) fn way(&self, to: &Uri) -> Result<Option<Via>, TransportError> {
        let HostAndPort { host, port } = HostAndPort::of(to);
        if to.scheme_str() != Some("https") || is_loopback(&host) || self.no_proxy.has(&host, port) {
            return Ok(None);
        }
        let refused = |what: &str| {
            // The value may have a password in it.
            let context =
                format!("{} {what}; set it to http://HOST:PORT, or name {host} in NO_PROXY", self.named_by);
            TransportError::new(TransportErrorKind::Invalid, Sent::No, context)
        };
        let scheme = self.url.split_once("://").map_or("http", |it| it.0).to_ascii_lowercase();
        match scheme.as_str() {
            "http" => {}
            scheme if scheme.starts_with("socks") => {
                return Err(refused("names a SOCKS proxy, which is not supported, only an HTTP proxy is"));
            }
            "https" => return Err(refused("names a proxy that is reached by TLS, which is not supported")),
            _ => return Err(refused("names a proxy of an unknown scheme")),
        }
        let intercept = Matcher::builder().https(self.url.as_str()).build().intercept(to);
        let intercept = intercept.ok_or_else(|| refused("is not a proxy's URL"))?;
        Ok(Some(Via {
            proxy: intercept.uri().clone(),
            authorization: intercept.basic_auth().cloned(),
            named_by: self.named_by,
        }))
    }
}

impl Via {
    /// Where the proxy is, and where that was named.
    fn shown(&self) -> String {
        format!("the proxy {} ({})", HostAndPort::of(&self.proxy), self.named_by)
    }

    /// A connection to a server through the proxy (RFC 9110, section 9.3.6).
    pub(crate) async fn connect(
        self,
        mut tcp: TcpConnector,
        to: &Uri,
    ) -> Result<TokioIo<TcpStream>, TransportError> {
        let error =
            |kind, what: &str| TransportError::new(kind, Sent::No, format!("{}: {what}", self.shown()));
        let failed = |what: &str| error(TransportErrorKind::Connect, what);
        let connected = tcp.call(self.proxy.clone()).await;
        let stream = connected.map_err(|error| failed(&deepest(&error)).with_source(error))?;
        let mut stream = stream.into_inner();
        let server = HostAndPort::of(to);
        let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        let wrote = stream.write_all(&request).await;
        wrote.map_err(|error| failed("it closed the connection").with_source(error))?;
        // The server speaks only after TLS has begun, so what comes is the proxy's head and nothing else.
        let mut head = Vec::new();
        while !head.windows(4).any(|it| it == b"\r\n\r\n") {
            let read = stream.read_buf(&mut head).await;
            match read.map_err(|error| failed("it closed the connection").with_source(error))? {
                0 => return Err(failed("it closed the connection without an answer")),
                _ if head.len() > ANSWER_BYTES_MAX => return Err(failed("its answer has no end")),
                _ => {}
            }
        }
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' ')).map(|it| it.1.trim());
        let status = status.ok_or_else(|| failed("what it answered is not HTTP"))?;
        if status.starts_with('2') {
            return if head.ends_with(b"\r\n\r\n") {
                Ok(TokioIo::new(stream))
            } else {
                Err(failed("it sent something before the server could"))
            };
        }
        let shown = LogText::new(status, REASON_CHARS_MAX);
        let kind = match status.starts_with('4') {
            true => TransportErrorKind::Proxy,
            false => TransportErrorKind::Connect,
        };
        Err(error(
            kind,
            &match status.get(..3) {
                Some("407") => format!(
                    "it wants a user and a password (it answered {shown}); write them into the URL, http://USER:PASSWORD@HOST:PORT"
                ),
                _ => format!("it opens no connection to {server} (it answered {shown})"),
            },
        ))
    }
}

/// The first of these variables of the process that has a value, without what surrounds it.
fn first_variable(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| {
        let value = std::env::var(name).ok()?;
        let value = without_surroundings(&value);
        (!value.is_empty()).then(|| (*name, value.to_owned()))
    })
}

/// What is reached without the proxy: entries of `NO_PROXY`, which curl, Go and others read each in their own way.
#[derive(Clone, Debug, Default)]
struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    what: What,
    /// Only this port.
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum What {
    Everything,
    Addresses(IpNet),
    /// Addresses that begin so, up to a dot: `10.` and `192.168.`, as Windows has them.
    Beginning(String),
    /// Names without a dot, which Windows calls `<local>`.
    Local,
    /// Names that end in this domain, and the domain itself unless it was written as `*.domain`.
    Domain {
        name: String,
        with_itself: bool,
    },
}

impl NoProxy {
    /// Commas, semicolons and blanks separate entries.
    fn parse(list: &str) -> Self {
        let entries = list.split(|it: char| it == ',' || it == ';' || it.is_whitespace());
        Self(entries.filter(|it| !it.is_empty()).map(Entry::parse).collect())
    }

    fn has(&self, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        self.0.iter().any(|entry| {
            entry.port.is_none_or(|it| it == port)
                && match &entry.what {
                    What::Everything => true,
                    What::Addresses(net) => address.is_some_and(|it| net.contains(&it)),
                    What::Beginning(digits) => address.is_some() && host.starts_with(digits),
                    What::Local => address.is_none() && !host.contains('.'),
                    What::Domain { name, with_itself } => {
                        (*with_itself && host == *name)
                            || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
                    }
                }
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        if let Some(what) = What::parse_address(&text) {
            return Self { what, port: None };
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, port.parse().ok()),
            _ => (text.as_str(), None),
        };
        Self { what: What::parse_address(host).unwrap_or_else(|| What::parse_name(host)), port }
    }
}

impl What {
    fn parse_address(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
        let net = bare.parse::<IpNet>().ok().or_else(|| bare.parse::<IpAddr>().ok().map(IpNet::from))?;
        Some(Self::Addresses(net))
    }

    fn parse_name(text: &str) -> Self {
        let text = text.trim_end_matches('.');
        let beginning = text.strip_suffix('*').filter(|it| it.ends_with('.'));
        let is_number = |it: &&str| it.bytes().all(|it| it.is_ascii_digit() || it == b'.');
        match text.strip_prefix("*.") {
            _ if text == "*" => Self::Everything,
            _ if text == "<local>" => Self::Local,
            _ if beginning.is_some_and(|it| is_number(&it)) => {
                Self::Beginning(beginning.unwrap_or_default().to_owned())
            }
            Some(name) => Self::Domain { name: name.to_owned(), with_itself: false },
            None => Self::Domain { name: text.trim_start_matches('.').to_owned(), with_itself: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of `NO_PROXY`, and what they are about. The table of docs/operations.md.
    const FORMS: [(&str, &[&str], &[&str]); 17] = [
        (
            "corp.example",
            &["https://corp.example/", "https://a.b.CORP.example./"],
            &["https://acorp.example/"],
        ),
        (".corp.example", &["https://corp.example/", "https://a.corp.example/"], &["https://example/"]),
        (
            "*.corp.example",
            &["https://a.corp.example/", "https://b.a.corp.example/"],
            &["https://corp.example/"],
        ),
        ("corp.example:8443", &["https://corp.example:8443/"], &["https://corp.example/"]),
        (
            "corp.example:443",
            &["https://corp.example/", "https://corp.example:443/"],
            &["https://corp.example:1/"],
        ),
        ("*", &["https://corp.example/", "https://10.0.0.1/", "https://[2001:db8::1]/"], &[]),
        ("10.0.0.1", &["https://10.0.0.1/"], &["https://10.0.0.11/", "https://a.10.0.0.1.example/"]),
        ("10.0.0.1:8443", &["https://10.0.0.1:8443/"], &["https://10.0.0.1/"]),
        ("10.0.0.0/8", &["https://10.255.0.1/"], &["https://11.0.0.1/"]),
        ("10.*", &["https://10.255.0.1/"], &["https://100.0.0.1/", "https://10.example/"]),
        (
            "192.168.*;<local>",
            &["https://192.168.3.4/", "https://intranet/"],
            &["https://192.16.8.1/", "https://a.b/"],
        ),
        ("http://corp.example", &[], &["https://other.example/"]),
        ("2001:db8::1", &["https://[2001:db8::1]/"], &["https://[2001:db8::2]/"]),
        ("[2001:db8::1]:8443", &["https://[2001:db8::1]:8443/"], &["https://[2001:db8::1]/"]),
        ("2001:db8::/32", &["https://[2001:db8:1::9]/"], &["https://[2001:db9::1]/"]),
        (
            "one.example two.example",
            &["https://one.example/", "https://two.example/"],
            &["https://three.example/"],
        ),
        (
            " one.example ,\ttwo.example,",
            &["https://one.example/", "https://two.example/"],
            &["https://x.example/"],
        ),
    ];

    fn way(url: &str, no_proxy: &str, to: &str) -> Result<Option<String>, String> {
        let proxies = Proxies::of(&Proxy::Url { url: url.into(), no_proxy: no_proxy.into() }).unwrap();
        let way = proxies.way(&to.parse().unwrap());
        way.map(|it| it.map(|it| it.proxy.to_string())).map_err(|error| error.to_string())
    }

    #[test]
    fn each_form_of_no_proxy_is_read() {
        for (entry, direct, through) in FORMS {
            for to in direct {
                assert_eq!(way("http://proxy:3128", entry, to), Ok(None), "{entry}: {to}");
            }
            for to in through {
                let expected = Ok(Some("http://proxy:3128/".to_owned()));
                assert_eq!(way("http://proxy:3128", entry, to), expected, "{entry}: {to}");
            }
        }
    }

    #[test]
    fn only_https_to_elsewhere_goes_through_the_proxy() {
        for to in ["https://127.0.0.1:1/", "https://localhost/", "https://[::1]/", "http://example.com/"] {
            // Even where the proxy could not be used.
            for url in ["http://proxy:3128", "socks5://proxy", "no url"] {
                assert_eq!(way(url, "", to), Ok(None), "{url} {to}");
            }
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_a_fault_of_what_would_go_through_it() {
        for (url, said) in [
            ("socks5://user:canary@proxy", "SOCKS"),
            ("socks://proxy", "SOCKS"),
            ("https://proxy:canary", "TLS"),
            ("https://proxy", "TLS"),
            ("http://user:canary@", "not a proxy's URL"),
            ("http://pro xy:canary", "not a proxy's URL"),
            ("ftp://proxy", "scheme"),
        ] {
            assert_eq!(way(url, "corp.example", "https://corp.example/"), Ok(None));
            let error = way(url, "corp.example", "https://example.com/").unwrap_err();
            assert!(error.contains(said) && !error.contains("canary"), "{url}: {error}");
        }
    }
}
