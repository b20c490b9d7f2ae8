//! Faults by script: what should go wrong, where, and how often.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

/// The most faults that wait at once.
pub(crate) const FAULTS_MAX: usize = 1000;

/// Where a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultPlace {
    /// At the token endpoint.
    Token,
    /// At chat completions.
    Chat,
    /// At the security token service.
    Sts,
    /// Where somebody acts as a service account.
    Iam,
    /// At the metadata server of Google's machines.
    Metadata,
    /// At the servers that give subject tokens: AWS, Azure, GitHub.
    Subject,
}

impl FaultPlace {
    /// The words for places, for the control API.
    const ALL: [(&str, Self); 6] = [
        ("token", Self::Token),
        ("chat", Self::Chat),
        ("sts", Self::Sts),
        ("iam", Self::Iam),
        ("metadata", Self::Metadata),
        ("subject", Self::Subject),
    ];

    /// Where a path is.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "/token" => Some(Self::Token),
            "/v1/token" | "/v1/oauthtoken" => Some(Self::Sts),
            _ if path.ends_with("/chat/completions") => Some(Self::Chat),
            _ if path.starts_with("/v1/projects/-/serviceAccounts/") && path.contains(':') => Some(Self::Iam),
            _ if path.starts_with("/computeMetadata/") => Some(Self::Metadata),
            _ if ["/latest/", "/metadata/", "/github/", "/subject-token"]
                .iter()
                .any(|it| path.starts_with(it)) =>
            {
                Some(Self::Subject)
            }
            _ => None,
        }
    }
}

/// One thing that goes wrong.
///
/// As JSON for the control API: `{"at": "chat", "times": 2, "status": 503, "body": "…", "headers": {"retry-after": "1"}}`,
/// or with `delay_ms`, `cut_after_bytes`, `stall_after_bytes` in place of a status: then the true answer is given, late
/// or in part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fault {
    /// Where it strikes.
    pub at: FaultPlace,
    /// How often, before it is over.
    pub times: u32,
    /// The status of the answer; without one it is the true answer.
    pub status: Option<StatusCode>,
    /// Headers to set.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, with `status`.
    pub body: Bytes,
    /// The wait before the answer begins.
    pub delay: Duration,
    /// The connection is closed after this many bytes of the body.
    pub cut_after: Option<usize>,
    /// Nothing more comes after this many bytes of the body.
    pub stall_after: Option<usize>,
}

impl Fault {
    /// Something that goes wrong once at this place; what, has to be set.
    #[must_use]
    pub fn at(at: FaultPlace) -> Self {
        Self {
            at,
            times: 1,
            status: None,
            headers: Vec::new(),
            body: Bytes::new(),
            delay: Duration::ZERO,
            cut_after: None,
            stall_after: None,
        }
    }

    /// Strikes this often.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Answers with this status and body.
    #[must_use]
    pub fn status(mut self, status: StatusCode, body: impl Into<Bytes>) -> Self {
        self.status = Some(status);
        self.body = body.into();
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Waits before the answer begins.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Closes the connection after this many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    /// Falls silent after this many bytes of the body.
    #[must_use]
    pub fn stall_after(mut self, bytes: usize) -> Self {
        self.stall_after = Some(bytes);
        self
    }

    /// Reads the control API's form.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let object = value.as_object().ok_or("a fault is an object")?;
        let known =
            ["at", "times", "status", "headers", "body", "delay_ms", "cut_after_bytes", "stall_after_bytes"];
        if let Some(unknown) = object.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("`{unknown}` is not one of {}", known.join(", ")));
        }
        let number = |key: &str| match object.get(key) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(format!("`{key}` is not a whole number from 0")),
        };
        let size = |key: &str| number(key).map(|it| it.and_then(|it| usize::try_from(it).ok()));
        let word = object.get("at").and_then(Value::as_str).unwrap_or_default();
        let Some((_, place)) = FaultPlace::ALL.iter().find(|(known, _)| *known == word) else {
            return Err(format!("`at` is not one of {}", FaultPlace::ALL.map(|(word, _)| word).join(", ")));
        };
        let mut fault = Self::at(*place);
        fault.times = number("times")?.map_or(1, |it| u32::try_from(it).unwrap_or(u32::MAX));
        if let Some(status) = number("status")? {
            let status = u16::try_from(status).ok().and_then(|it| StatusCode::from_u16(it).ok());
            fault.status = Some(status.ok_or("`status` is not an HTTP status")?);
        }
        fault.body = match object.get("body") {
            None => Bytes::new(),
            Some(Value::String(text)) => Bytes::from(text.clone()),
            Some(other) => Bytes::from(other.to_string()),
        };
        for (name, value) in object.get("headers").and_then(Value::as_object).into_iter().flatten() {
            let header = name
                .parse::<HeaderName>()
                .ok()
                .zip(value.as_str().and_then(|it| it.parse::<HeaderValue>().ok()));
            fault.headers.push(header.ok_or(format!("`headers.{name}` is not a header"))?);
        }
        fault.delay = Duration::from_millis(number("delay_ms")?.unwrap_or(0));
        fault.cut_after = size("cut_after_bytes")?;
        fault.stall_after = size("stall_after_bytes")?;
        Ok(fault)
    }
}
