//! The entry points of the fuzz targets in `tests/fuzz`, and of `tests/it/entries.rs`. Each takes any bytes, and panics
//! when a promise is broken.

use std::sync::Arc;

use vertex_chat_auth::{CredentialsOptions, Environment, ExecutableAnswer, TokenSource};
use vertex_chat_compare::batch::{self, BatchForm, Importer};
use vertex_chat_compare::{Judge, Line, Prices, Scoring, Summary, read_csv, read_lines};
use vertex_chat_conformance::{self as conformance, Plan, Reports, Suite};
use vertex_chat_params::{Dialect, PREPARE_STEPS_MAX, Policy, Target, prepare_json, reduce_schema};
use vertex_chat_sse::{Decoder, Item};
use vertex_chat_transport::{Always, Body, Exchange, Request, Response, SimulatedClock, TransportError};
use vertex_chat_types::{
    Accumulator, ApiError, ChatCompletion, ChatCompletionChunk, ChatRequest, Json, MERGED_BYTES_MAX, Message,
    StreamEvent,
};

/// What parses is written, and parses to the same again.
///
/// # Panics
/// When it is not so.
pub fn types(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(vertex_chat_types::from_slice::<ChatRequest>(bytes).is_err());
        return;
    };
    if let Ok(request) = vertex_chat_types::from_str::<ChatRequest>(text) {
        let written = serde_json::to_string(&request).expect("a request is JSON");
        let again: ChatRequest = vertex_chat_types::from_str(&written).expect("it was written from one");
        assert_eq!(serde_json::to_string(&again).expect("JSON"), written);
    }
    if let Ok(completion) = vertex_chat_types::from_str::<ChatCompletion>(text) {
        let written = serde_json::to_string(&completion).expect("a completion is JSON");
        let again: ChatCompletion = vertex_chat_types::from_str(&written).expect("it was written from one");
        assert_eq!(serde_json::to_string(&again).expect("JSON"), written);
        let _ = (completion.text(), completion.to_message(), format!("{completion:?}"));
    }
    // One chunk a line, put together.
    let mut whole = Accumulator::new();
    for line in text.lines() {
        let Ok(chunk) = vertex_chat_types::from_str::<ChatCompletionChunk>(line) else { continue };
        let _ = chunk.text();
        if whole.push(chunk).is_err() {
            break;
        }
    }
    let whole = whole.into_completion();
    assert!(whole.text().len() <= MERGED_BYTES_MAX);
    serde_json::to_string(&whole).expect("a completion is JSON");
}

/// However the bytes are cut, the same comes out; and every event is read without a panic.
///
/// # Panics
/// When it is not so.
pub fn sse(bytes: &[u8]) {
    let (cut, stream) = match bytes.split_first() {
        Some((cut, stream)) => (usize::from(*cut) % (stream.len() + 1), stream),
        None => return,
    };
    let whole = decoded(&[stream]);
    let (first, second) = stream.split_at(cut);
    assert_eq!(whole, decoded(&[first, second]));
    let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(whole, decoded(&bytewise));
}

fn decoded(reads: &[&[u8]]) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut items = Vec::new();
    for read in reads {
        let mut input = *read;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Item::Event(event))) => {
                    items.push(format!("{}:{}", event.event, event.data));
                    let _ = StreamEvent::read(&event.event, &event.data);
                }
                Ok(Some(other)) => items.push(format!("{other:?}")),
                Ok(None) => break,
                Err(error) => {
                    items.push(error.to_string());
                    return items;
                }
            }
        }
    }
    items.push(format!("{:?}", decoder.finish()));
    items
}

/// A schema is reduced or refused, and a reduced one stays as it is.
///
/// # Panics
/// When it is not so.
pub fn schema(bytes: &[u8]) {
    let Ok(schema) = std::str::from_utf8(bytes).unwrap_or_default().parse::<Json>() else { return };
    for dialect in [Dialect::VertexGemini3, Dialect::GeminiDeveloper] {
        if let Ok(Some((reduced, _))) = reduce_schema(&schema, dialect) {
            let again = reduce_schema(&reduced, dialect).expect("it was reduced before");
            assert!(
                again.is_none(),
                "{} became {:?}",
                reduced.as_str(),
                again.map(|it| it.0.as_str().to_owned())
            );
        }
    }
}

/// Every body is some error, of bounded length.
///
/// # Panics
/// When it is not so.
pub fn errors(bytes: &[u8]) {
    let error = ApiError::from_body(Some(400), bytes);
    assert!(error.message().len() <= vertex_chat_types::ERROR_MESSAGE_BYTES_MAX + '…'.len_utf8());
    let _ = (error.to_string(), format!("{error:?}"), ApiError::detect(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (StreamEvent::read("", text), StreamEvent::read("error", text));
    }
}

/// What is prepared is JSON, and is not changed when it is prepared again.
///
/// # Panics
/// When it is not so.
pub fn prepare(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let dialect = Dialect::ALL[usize::from(*choice) % Dialect::ALL.len()];
    let target = Target::new(dialect).with_policy(Policy::Drop);
    let Ok(prepared) = prepare_json(body.to_vec(), &target) else { return };
    let again = prepare_json(prepared.body().to_vec(), &target).expect("it was prepared before");
    assert_eq!(again.body(), prepared.body());
}

/// The bytes are read as the plan of a request that is as costly as it can be: each byte chooses the next part, and how often
/// it is there. Preparing it takes no more steps than a request may, and neither what is sent nor an error grows without bound.
///
/// # Panics
/// When that is not so.
pub fn costly(bytes: &[u8]) {
    let mut plan = CostPlan { bytes: bytes.iter(), left: PLAN_BYTES_MAX };
    let tools: Vec<String> = (0..=plan.next() % 8)
        .map(|i| {
            format!(r#"{{"type":"function","function":{{"name":"f{i}","parameters":{}}}}}"#, plan.schema(0))
        })
        .collect();
    let messages = plan.messages();
    let body = format!(
        r#"{{"model":"gemini-3-flash-preview","messages":{messages},"tools":[{}],"$x":{}}}"#,
        tools.join(","),
        plan.schema(2)
    );
    for dialect in [Dialect::VertexGemini3, Dialect::GeminiDeveloper, Dialect::Tgi] {
        match prepare_json(body.clone().into_bytes(), &Target::new(dialect).with_policy(Policy::Drop)) {
            Ok(prepared) => {
                assert!(prepared.steps() <= PREPARE_STEPS_MAX, "{} steps", prepared.steps());
                let most = body.len() * 3 + (tools.len() << 21);
                assert!(prepared.body().len() <= most, "{} bytes", prepared.body().len());
            }
            Err(rejection) => assert!(rejection.to_string().len() < 40 << 10, "a long error"),
        }
    }
}

/// About how large a planned request may become, in bytes.
const PLAN_BYTES_MAX: usize = 96 << 10;

/// Chooses by the next byte; without more bytes, the smallest.
struct CostPlan<'a> {
    bytes: std::slice::Iter<'a, u8>,
    left: usize,
}

impl CostPlan<'_> {
    fn next(&mut self) -> usize {
        self.bytes.next().map_or(0, |byte| usize::from(*byte))
    }

    /// Something repeated, up to `times` and as often as there is room.
    fn repeated(&mut self, times: usize, make: impl Fn(usize) -> String) -> String {
        let mut parts = Vec::new();
        for i in 0..times {
            let part = make(i);
            if part.len() > self.left {
                break;
            }
            self.left -= part.len();
            parts.push(part);
        }
        parts.join(",")
    }

    fn schema(&mut self, depth: usize) -> String {
        let (kind, count) = (self.next() % 14, self.next() * 8);
        if depth > 5 || self.left == 0 {
            return r#"{"type":"string"}"#.to_owned();
        }
        match kind {
            0 => r#"{"type":"string"}"#.to_owned(),
            1 => format!(r#"{{"enum":[{}]}}"#, self.repeated(count, |i| i.to_string())),
            2 => format!(
                r#"{{"type":["a",{}"string"]}}"#,
                self.repeated(count, |_| r#""integer""#.to_owned()) + ","
            ),
            3 => format!(r#"{{"allOf":[{},{}]}}"#, self.schema(depth + 1), self.schema(depth + 1)),
            4 => format!(
                r#"{{"anyOf":[{},{}],"x":[{}]}}"#,
                self.schema(depth + 1),
                self.schema(depth + 1),
                self.repeated(count, |i| i.to_string())
            ),
            5 => {
                let inner = self.schema(depth + 1);
                format!(r#"{{"oneOf":[{}],"minLength":1}}"#, self.repeated(count / 8, |_| inner.clone()))
            }
            6 => {
                let inner = self.schema(depth + 1);
                format!(
                    r#"{{"type":"object","properties":{{{}}}}}"#,
                    self.repeated(count, |i| format!(r#""k{i}":{inner}"#))
                )
            }
            7 => r##"{"$ref":"#/$defs/D"}"##.to_owned(),
            8 => r##"{"$ref":"#"}"##.to_owned(),
            9 => {
                let (inner, own) = (self.schema(depth + 1), self.schema(depth + 1));
                format!(r##"{{"type":"object","properties":{{"a":{own}}},"$defs":{{"D":{inner}}}}}"##)
            }
            10 => format!(r#"{{{}}}"#, self.repeated(count, |i| format!(r#""u{i}":{i}"#))),
            11 => format!(r#"{{"required":[{}]}}"#, self.repeated(count, |i| format!(r#""k{i}""#))),
            12 => {
                let inner = self.schema(depth + 1);
                format!(
                    r#"{{"type":"array","prefixItems":[{}]}}"#,
                    self.repeated(count / 8, |_| inner.clone())
                )
            }
            _ => format!(r#"{{"{}":{}}}"#, "n".repeat(count.min(self.left)), self.schema(depth + 1)),
        }
    }

    fn messages(&mut self) -> String {
        let (kind, count) = (self.next() % 4, self.next() * 16);
        let user = r#"{"role":"user","content":"hi"}"#;
        let rest = match kind {
            0 => String::new(),
            1 => self.repeated(count, |i| format!(r#"{{"role":"tool","tool_call_id":"c{}","content":"x"}}"#, i % 7)),
            2 => self.repeated(count, |i| {
                format!(
                    r#"{{"role":"assistant","tool_calls":[{{"id":"c{i}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}}"#
                )
            }),
            _ => self.repeated(count, |i| {
                format!(
                    r#"{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"gs://b/o","detail":"d{i}"}}}}]}}"#
                )
            }),
        };
        if rest.is_empty() { format!("[{user}]") } else { format!("[{user},{rest}]") }
    }
}

/// Somebody who answers everything with the same bytes, but for the first question where that is another's.
#[derive(Debug)]
struct Answers {
    first: Option<&'static str>,
    status: u16,
    bytes: Vec<u8>,
    asked: std::sync::atomic::AtomicU32,
}

#[async_trait::async_trait]
impl Exchange for Answers {
    async fn send(&self, _: Request) -> Result<Response, TransportError> {
        let number = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(number < 20, "there is no end of asking");
        let (status, body) = match self.first {
            Some(first) if number == 0 => (200, first.as_bytes().to_vec()),
            _ => (self.status, self.bytes.clone()),
        };
        let mut response = Response::new(Body::from(bytes::Bytes::from(body)));
        *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        Ok(response)
    }
}

fn credentials_options(answers: Answers) -> CredentialsOptions {
    // Waits between attempts pass at once; the time that a request has does not.
    let clock = SimulatedClock::new().with_instant_sleeps(std::time::Duration::from_secs(9));
    CredentialsOptions::new(Arc::new(Always(Arc::new(answers))), Arc::new(clock))
        .with_environment(Environment::of::<&str, &str>([]))
}

/// A credential file is read or refused in one line that shows no secret of it.
///
/// # Panics
/// When that is not so.
pub fn credentials(bytes: &[u8]) {
    let answers = Answers { first: None, status: 200, bytes: Vec::new(), asked: 0.into() };
    let result = credentials_options(answers).from_json(bytes, "the file");
    let shown = match &result {
        Ok(found) => format!("{found:?}"),
        Err(error) => format!("{error}\n{error:?}"),
    };
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(bytes) else { return };
    for secret in ["private_key", "client_secret", "refresh_token"] {
        let text = fields.get(secret).and_then(serde_json::Value::as_str).unwrap_or_default();
        // What stands elsewhere in the file as well is no secret.
        let is_secret = text.len() > 20 && String::from_utf8_lossy(bytes).matches(text).count() == 1;
        assert!(!is_secret || !shown.contains(text), "{shown}");
    }
}

/// What a token endpoint, the security token service and iamcredentials answer becomes a token or an error, soon.
///
/// # Panics
/// When that is not so.
pub fn tokens(bytes: &[u8]) {
    const LOGIN: &str =
        r#"{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}"#;
    let Some((how, bytes)) = bytes.split_first() else { return };
    let statuses = [200, 200, 200, 400, 401, 403, 429, 503];
    let status = statuses[usize::from(how >> 1) % statuses.len()];
    let acting = format!(
        r#"{{"type":"impersonated_service_account","source_credentials":{LOGIN},"service_account_impersonation_url":"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b:generateAccessToken"}}"#
    );
    let (file, first) = match how & 1 {
        0 => (LOGIN, None),
        _ => (acting.as_str(), Some(r#"{"access_token":"first","expires_in":3599}"#)),
    };
    let answers = Answers { first, status, bytes: bytes.to_vec(), asked: 0.into() };
    let found = credentials_options(answers).from_json(file.as_bytes(), "the file").expect("it is one");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    match runtime.block_on(found.refresh()) {
        Ok(token) => assert!(!token.secret().expose().is_empty() && status == 200),
        Err(error) => assert!(error.to_string().len() < 4096 && !error.to_string().contains('\n'), "{error}"),
    }
}

/// What an executable says is a token or an error.
pub fn executable(bytes: &[u8]) {
    let now = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_767_225_600);
    match ExecutableAnswer::read(bytes) {
        Ok(answer) => _ = (answer.has_expired(now), format!("{answer:?}")),
        Err(error) => _ = error.to_string(),
    }
}

/// What a server says in place of an answer is judged, and a case of anybody's is read or refused.
///
/// # Panics
/// When that is not so.
pub fn conformance(bytes: &[u8]) {
    let mut suite = Suite::bundled();
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = suite.add("cases/own/case.toml", text);
    }
    let answers = Answers { first: None, status: 200, bytes: bytes.to_vec(), asked: 0.into() };
    let clock = SimulatedClock::new().with_instant_sleeps(std::time::Duration::from_secs(60));
    let target = conformance::Target::new(Arc::new(answers), Arc::new(clock), "http://127.0.0.1:1/v1", "m");
    let plan = Plan::new("openai").case("stream-done").case("chat-answers");
    let mut run = suite.plan(&plan).expect("the cases are there").run(target.expect("it is a URL"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    while runtime.block_on(run.next()).is_some() {}
    let reports = Reports(vec![run.report()]);
    let _ = (reports.to_json(), reports.to_markdown(), run.report().to_text());
    // Whatever the server says, the build server can read the report.
    let junit = reports.to_junit();
    assert!(!junit.contains(|it: char| it < ' ' && it != '\n'), "{junit:?}");
}

/// Prompts, prices, lines of runs and of batch jobs are read or refused, and what comes of them can be drawn.
///
/// # Panics
/// When that is not so.
pub fn compare(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = read_csv("p.csv", text, "{a} {b}");
    let _ = read_csv("p.csv", "a,b\n1,2\n", text);
    for prompt in read_lines("p.jsonl", text).unwrap_or_default() {
        let _ = batch::export(BatchForm::Gemini, "google/gemini-2.5-flash", 0, &prompt.request);
    }
    let _ = Prices::parse("p.toml", text).map(|it| it.find("m", "h", None));
    if let Ok(scoring) = Scoring::parse(text) {
        let _ = scoring.score(Some(text), Some(text));
    }
    let _ = Judge::new(Some(text)).map(|it| it.request(text, text, None));
    let request = ChatRequest::new("google/gemini-2.5-flash", [Message::user("Hello")]);
    if let Ok(mut importer) = Importer::new(BatchForm::Gemini, "google/gemini-2.5-flash", [(0, request)]) {
        let _ = importer.read(text);
    }
    let mut summary = Summary::new();
    for line in text.lines() {
        if let Ok(line) = Line::parse(line) {
            assert_eq!(Line::parse(&line.to_json()).as_ref(), Ok(&line), "what is written is read");
            summary.add(&line);
        }
    }
    let page = vertex_chat_compare::html(&summary.report(text, text));
    assert_eq!(page.matches("</script>").count(), 2, "nothing of a stranger ends what it is in");
}
