//! Recorded token exchanges, played again: whoever asks gets the recorded answers, and what was asked is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use vertex_chat_transport::{
    Body, Connector, Exchange, Profile, Request, Response, Sent, TransportError, TransportErrorKind,
};

use crate::{base64_url, process::Folder, shared_json, vector_key_pem};

/// A request in the form in which two can be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// `https://oauth2.googleapis.com`.
    pub origin: String,
    /// The method and the target.
    pub line: String,
    /// The headers that matter, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The fields of the form or of the JSON object.
    pub fields: BTreeMap<String, Value>,
}

/// The headers that matter between a client and Google.
const HEADERS: [&str; 6] = [
    "authorization",
    "metadata-flavor",
    "metadata",
    "content-type",
    "x-aws-ec2-metadata-token",
    "x-aws-ec2-metadata-token-ttl-seconds",
];

fn fields(headers: &BTreeMap<String, String>, body: &[u8]) -> BTreeMap<String, Value> {
    if headers.get("content-type").is_some_and(|it| it.starts_with("application/json")) {
        return serde_json::from_slice(body).expect("a JSON object");
    }
    let pairs = form_urlencoded::parse(body).into_owned();
    pairs
        .map(|(key, value)| {
            let value = opened(&key, &value);
            (key, value)
        })
        .collect()
}

/// What a field says, where its text may be spelt in several ways.
fn opened(key: &str, value: &str) -> Value {
    match key {
        "assertion" => {
            let parts: Vec<&str> = value.split('.').collect();
            let part = |at: usize| serde_json::from_slice::<Value>(&base64_url(parts[at])).expect("JSON");
            let mut claims = part(1);
            // The port that was free when it was recorded.
            if let Some(rest) = claims["aud"].as_str().and_then(|it| it.strip_prefix("http://127.0.0.1:")) {
                let path = rest.trim_start_matches(|it: char| it.is_ascii_digit()).to_owned();
                claims["aud"] = Value::from(format!("http://127.0.0.1:{PORT}{path}"));
            }
            serde_json::json!({"header": part(0), "claims": claims})
        }
        "subject_token" if value.starts_with("%7B") => {
            let text = percent_decode_str(value).decode_utf8_lossy();
            let mut token: Value = serde_json::from_str(&text).expect("JSON");
            let mut headers: Vec<Value> = token["headers"].as_array().cloned().unwrap_or_default();
            for header in &mut headers {
                header["key"] = header["key"].as_str().unwrap_or_default().to_ascii_lowercase().into();
            }
            headers.sort_by_key(|it| it["key"].as_str().unwrap_or_default().to_owned());
            token["headers"] = Value::Array(headers);
            token
        }
        // A chain of certificates is JSON.
        "subject_token" if value.starts_with('[') => serde_json::from_str(value).expect("JSON"),
        _ => Value::from(value),
    }
}

/// A recording.
#[derive(Debug)]
pub struct Recording {
    /// The whole file, with this test's folders and a port of no account in it.
    pub file: Value,
    /// What was asked, without what a client asks of its own accord: proxies' and boundaries' business.
    pub asked: Vec<Asked>,
    answers: Mutex<Vec<(String, Value)>>,
    seen: Mutex<Vec<Asked>>,
}

/// The port in all recordings.
pub const PORT: &str = "9";

impl Recording {
    /// Reads it; `None` when the recordings are not there.
    ///
    /// # Panics
    /// When it is not of the form.
    #[must_use]
    pub fn read(path: &str, folder: &Folder) -> Option<Arc<Self>> {
        let file = shared_json(&format!("vectors/auth/{path}"))?;
        let folder = folder.path("");
        let folder = folder.to_str().expect("a path is text").trim_end_matches('/');
        let mut text =
            file.to_string().replace("RIGPORT", PORT).replace("RIGDIR", folder).replace("$HOME", folder);
        for key in ["sa_pkcs8", "sa_pkcs1"] {
            let pem = Value::from(vector_key_pem(key)?).to_string();
            text = text.replace(&format!("\"@keys/{key}\""), &pem);
        }
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let (mut asked, mut answers) = (Vec::new(), Vec::new());
        for exchange in file["exchanges"].as_array().into_iter().flatten() {
            let request = &exchange["request"];
            let (via, target) =
                (request["via"].as_str().unwrap_or_default(), request["target"].as_str().expect("a target"));
            let all: BTreeMap<String, String> = request["headers"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|it| {
                    (
                        it[0].as_str().unwrap_or_default().to_ascii_lowercase(),
                        it[1].as_str().unwrap_or_default().to_owned(),
                    )
                })
                .collect();
            let line = format!("{} {target}", request["method"].as_str().unwrap_or_default());
            answers.push((line.clone(), exchange["response"].clone()));
            let origin = match via.strip_prefix("connect ").and_then(|it| it.strip_suffix(":443")) {
                Some(host) => format!("https://{host}"),
                None => format!("http://{}", all.get("host").map_or("", String::as_str)),
            };
            let body = crate::base64(request["body_base64"].as_str().unwrap_or_default());
            let fields = fields(&all, &body);
            let headers = all.into_iter().filter(|(name, _)| HEADERS.contains(&name.as_str())).collect();
            asked.push(Asked { origin, line, headers, fields });
        }
        Some(Arc::new(Self { file, asked, answers: Mutex::new(answers), seen: Mutex::default() }))
    }

    /// What this test's client asked.
    ///
    /// # Panics
    /// When it has panicked.
    #[must_use]
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().expect("no panic while held").clone()
    }
}

/// Plays a recording to whoever connects.
#[derive(Clone, Debug)]
pub struct Replay(pub Arc<Recording>);

impl Connector for Replay {
    fn connect(&self, _: &Profile) -> Result<Arc<dyn Exchange>, TransportError> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl Exchange for Replay {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
        let line = format!("{} {target}", head.method);
        let all: BTreeMap<String, String> = head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        let fields = fields(&all, &body);
        let headers = all.into_iter().filter(|(name, _)| HEADERS.contains(&name.as_str())).collect();
        let origin = format!(
            "{}://{}",
            head.uri.scheme_str().unwrap_or_default(),
            head.uri.authority().map_or("", |it| it.as_str())
        );
        self.0.seen.lock().expect("no panic while held").push(Asked {
            origin,
            line: line.clone(),
            headers,
            fields,
        });
        let mut answers = self.0.answers.lock().expect("no panic while held");
        // Whether scopes are asked for in the query makes no other answer. The last answer of a place is repeated.
        let place = |line: &str| line.split('?').next().unwrap_or_default().to_owned();
        let left: Vec<usize> =
            (0..answers.len()).filter(|at| place(&answers[*at].0) == place(&line)).collect();
        let answer = match left.as_slice() {
            [] => {
                return Err(TransportError::new(
                    TransportErrorKind::Connect,
                    Sent::No,
                    "nothing was recorded",
                ));
            }
            [last] => answers[*last].1.clone(),
            [next, ..] => answers.remove(*next).1,
        };
        let mut response = Response::new(Body::from(bytes::Bytes::from(
            answer["body_text"].as_str().unwrap_or_default().to_owned(),
        )));
        let status = answer["status"].as_u64().and_then(|it| u16::try_from(it).ok()).expect("a status");
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        for header in answer["headers"].as_array().into_iter().flatten() {
            let pair = header[0]
                .as_str()
                .and_then(|it| it.parse::<HeaderName>().ok())
                .zip(header[1].as_str().and_then(|it| it.parse::<HeaderValue>().ok()));
            if let Some((name, value)) = pair {
                response.headers_mut().insert(name, value);
            }
        }
        Ok(response)
    }
}
