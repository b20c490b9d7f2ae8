//! One request for a completion: read, routed, prepared, sent, and its answer repaired.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tracing::Instrument;
use vertex_chat::params::{Glance, PreparedRequest, Target, prepare, prepare_glanced};
use vertex_chat::{COMPLETION_BYTES_MAX, CallOptions, ChatRequest, Dialect, Report, Rewrite};
use vertex_chat_transport::{Body, BodyPermit, Clock, LogText, Request, Response, is_json, within};
use vertex_chat_types::{ApiError, ChatCompletion, ExtraBody, GoogleOptions, Json};

use crate::build::State;
use crate::call::{Call, WORD_CHARS_MAX, shown};
use crate::coding::{codings, decoded};
use crate::fault::Fault;
use crate::gateway::{PROMPT_BYTES_MAX, REQUEST_ID};
use crate::heavy::{Heavy, INLINE_BYTES_MAX, INLINE_STEPS_MAX, in_place};
use crate::patience::Patience;
use crate::relay::{Relay, UNCOUNTED_BYTES_MAX, failed_answer, no_choices};
use crate::repair::{Repair, Repairer, Repairs, THOUGHT_TAG};
use crate::route::{MODEL_BYTES_MAX, Try};
use crate::weight::{CONTAINERS_MAX, TooMany, weigh};

pub(crate) const TARGET: HeaderName = HeaderName::from_static("x-vertex-chat-target");
const MODEL: HeaderName = HeaderName::from_static("x-vertex-chat-model");
const DROPPED: HeaderName = HeaderName::from_static("x-vertex-chat-dropped");
const REWRITTEN: HeaderName = HeaderName::from_static("x-vertex-chat-rewritten");
const FORWARDED_PARAMETERS: HeaderName = HeaderName::from_static("x-vertex-chat-forwarded");
const REPAIRED: HeaderName = HeaderName::from_static("x-vertex-chat-repaired");
const OVERHEAD: HeaderName = HeaderName::from_static("x-vertex-chat-overhead-us");
/// The longest of those headers that list something.
const LIST_BYTES_MAX: usize = 1024;

/// Headers that go on to Vertex: which quota a request is served from, and how long it may take there.
const FORWARDED: [HeaderName; 3] = [
    HeaderName::from_static("x-vertex-ai-llm-request-type"),
    HeaderName::from_static("x-vertex-ai-llm-shared-request-type"),
    HeaderName::from_static("x-server-timeout"),
];

/// Answers a request. A stream whose beginning takes long begins with comments, so that whatever cuts silent connections
/// leaves this one.
pub(crate) async fn answer(
    request: Request,
    mut call: Call,
    state: Arc<State>,
    clock: Arc<dyn Clock>,
) -> Response {
    let (mut head, body) = request.into_parts();
    if !is_json(&head.headers) {
        return call.refuse(Fault::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body is to be JSON; send the header `content-type: application/json`",
        ));
    }
    // What came over a socket has its permit already.
    let permit = head.extensions.remove::<Arc<BodyPermit>>().and_then(Arc::into_inner);
    let mut permit = permit.unwrap_or_else(|| call.bodies().permit());
    if let Err(room) = permit.resize(body.len()) {
        return call.refuse(Fault::no_room(room, "the request"));
    }
    let codings = match codings(&head.headers) {
        Ok(codings) => codings,
        Err(fault) => return call.refuse(fault),
    };
    let asked = if codings.is_empty() {
        call.heavy().by_size(body.len(), move || Asked::read(body, permit)).await
    } else {
        let bytes_max = state.limits.request_bytes_max;
        let read = move || Asked::read(decoded(body, &codings, bytes_max, &mut permit)?, permit);
        // A small body may become a large one.
        call.heavy().run(read).await
    };
    let asked = match asked {
        Ok(asked) => asked,
        Err(fault) => return call.refuse(fault),
    };
    let keep_alive = state.keep_alive;
    if !asked.is_stream {
        return put(asked, head.headers, call, &state, &clock).await;
    }
    let request_id = call.entry.request_id.clone();
    call.entry.status = StatusCode::OK.as_u16();
    let own = Arc::clone(&clock);
    let mut work: Pin<Box<dyn Future<Output = Response> + Send>> =
        Box::pin(async move { put(asked, head.headers, call, &state, &own).await });
    match within(&clock, keep_alive, work.as_mut()).await {
        Some(response) => response,
        None => Patience::response(work, &request_id, clock, keep_alive),
    }
}

/// Puts a request to those who may answer it, one after the other.
async fn put(
    mut asked: Asked,
    headers: HeaderMap,
    mut call: Call,
    state: &State,
    clock: &Arc<dyn Clock>,
) -> Response {
    call.entry.model = Some(asked.model.clone());
    call.entry.stream = asked.is_stream;
    if state.logs_prompts {
        let cut = &asked.body[..asked.body.len().min(PROMPT_BYTES_MAX)];
        call.entry.prompt = Some(String::from_utf8_lossy(cut).into_owned());
    }
    let tries = state.routes.tries(&asked.model, clock.monotonic());
    if tries.is_empty() {
        let fault = no_such_model(&asked.model, state);
        return call.refuse(fault);
    }
    let mut tries = VecDeque::from(tries);
    let mut fault = None;
    // Once for a request: what comes after it is an answer like every other.
    let mut has_looked_up = false;
    while let Some(place) = tries.pop_front() {
        call.entry.target = Some(Arc::clone(&place.server().label));
        call.entry.upstream_model = Some(place.model.clone());
        let span = span(&asked, &place);
        call.span = span.clone();
        let is_last = tries.is_empty();
        let may_look_up = !has_looked_up && place.server().may_look_up_host();
        let keeps_body = !is_last || may_look_up;
        let ready;
        (asked, ready) = prepared(asked, &place, keeps_body, &call.heavy()).await;
        let ready = ready.and_then(|ready| {
            let bytes = asked.body.len() + ready.0.body().len();
            asked.permit.resize(bytes).map_err(|room| Fault::no_room(room, "the request"))?;
            Ok(ready)
        });
        let ask = Ask { asked: &asked, place: &place, is_last, headers: &headers, state, clock };
        match ask.once(call, ready).instrument(span).await {
            Ok(response) => return response,
            Err((mut failed, own)) => {
                call = own;
                if failed.is_overload() {
                    let wait = failed.retry_after.unwrap_or(place.target.cool_down);
                    place.cool_down(clock.monotonic(), wait);
                    call.cooled(&place.server().label);
                }
                if failed.wants_dedicated_host() && may_look_up {
                    has_looked_up = true;
                    match Box::pin(place.server().look_up_host(clock)).await {
                        Ok(true) => {
                            // The same request, to where it belongs: no retry.
                            call.sent(0, 1);
                            tries.push_front(place);
                            continue;
                        }
                        Ok(false) => {}
                        Err(reason) => failed.add_remedy(&format!(
                            "{reason}; set the key `host` of the target `{}` to the endpoint's domain",
                            place.target.name
                        )),
                    }
                }
                let goes_on = failed.is_worth_another && !is_last;
                if goes_on {
                    tracing::debug!(
                        server = &*place.server().label,
                        status = failed.status.as_u16(),
                        "asking another"
                    );
                }
                // That everybody was busy is worth more to a client than what a stand-in said.
                let was_busy = fault.as_ref().is_some_and(Fault::is_overload);
                if !(was_busy && failed.status.is_client_error()) {
                    fault = Some(failed);
                }
                if !goes_on {
                    break;
                }
            }
        }
    }
    match fault {
        Some(mut fault) => {
            // A client's library multiplies retries of ours, and does the only ones where there were none.
            fault.forbid_retry(call.has_retried());
            call.refuse(fault)
        }
        None => unreachable!("because there was a place to ask, and it has answered or failed"),
    }
}

/// Makes a request ready for a place: here if that is little work, else on a thread for heavy work.
async fn prepared(
    mut asked: Asked,
    place: &Try,
    keeps_body: bool,
    heavy: &Heavy,
) -> (Asked, Result<(PreparedRequest, bool), Fault>) {
    let client = place.server().client();
    let mut job = Preparation {
        target: client.target(Some(&place.model)),
        repairs: place.target.repairs,
        model: place.model.clone(),
        keeps_body,
    };
    if asked.body.len() <= INLINE_BYTES_MAX {
        let is_plain = asked.glance.as_ref().is_some_and(Glance::is_plain);
        let here = Preparation {
            target: job.target.with_steps_max(INLINE_STEPS_MAX),
            keeps_body: keeps_body || !is_plain,
            model: std::mem::take(&mut job.model),
            ..job
        };
        match asked.prepared(&here) {
            Err(fault) if fault.is_too_costly() => job.model = here.model,
            result => return (asked, result),
        }
    }
    heavy
        .run(move || {
            let result = asked.prepared(&job);
            (asked, result)
        })
        .await
}

fn span(asked: &Asked, place: &Try) -> tracing::Span {
    tracing::info_span!(
        "chat",
        otel.name = format!("chat {}", LogText::new(&place.model, MODEL_BYTES_MAX)),
        otel.kind = "client",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = if place.target.is_openai { "openai" } else { "gcp.vertex_ai" },
        gen_ai.request.model = LogText::new(&place.model, MODEL_BYTES_MAX).to_string(),
        gen_ai.request.stream = asked.is_stream,
        gen_ai.usage.input_tokens = tracing::field::Empty,
        gen_ai.usage.output_tokens = tracing::field::Empty,
        server.address = place.server().client().chat_url().host().unwrap_or_default(),
        http.response.status_code = tracing::field::Empty,
        "error.type" = tracing::field::Empty,
    )
}

/// A model that nobody has.
pub(crate) fn no_such_model(model: &str, state: &State) -> Fault {
    let shown = shown(model, WORD_CHARS_MAX);
    let names: Vec<String> = state.routes.models().into_iter().map(|(name, _)| name).take(8).collect();
    let known = if names.is_empty() { "none by name".to_owned() } else { names.join(", ") };
    let message =
        format!("the model `{shown}` is not routed anywhere; there are {known}; GET /v1/models lists all");
    Fault::new(StatusCode::NOT_FOUND, "model_not_found", message).with_param("model")
}

/// Makes the permit one for a text and for the values that it becomes.
fn take_room(
    permit: &mut BodyPermit,
    json: &[u8],
    whose: &str,
    too_many: fn() -> Fault,
) -> Result<(), Fault> {
    let weight = weigh(json).map_err(|TooMany| too_many())?;
    permit.resize(json.len() + weight).map_err(|room| Fault::no_room(room, whose))
}

fn too_many_values() -> Fault {
    let message = format!(
        "the request has more than {CONTAINERS_MAX} objects and arrays (CONTAINERS_MAX of the gateway); send fewer, or larger texts"
    );
    Fault::new(StatusCode::BAD_REQUEST, "request_too_complex", message)
}

pub(crate) fn too_much_of_an_answer() -> Fault {
    let message = format!(
        "the model's server sent an answer of more than {CONTAINERS_MAX} objects and arrays (CONTAINERS_MAX of the gateway)"
    );
    Fault::upstream("upstream_too_large", message)
}

/// A request as far as the gateway has to know it.
struct Asked {
    body: Bytes,
    /// For the body, and for what is made of it.
    permit: BodyPermit,
    glance: Option<Glance>,
    model: String,
    is_stream: bool,
    has_stream_options: bool,
    wants_usage: bool,
    /// vLLM's usage in every chunk: who asks for that gets it.
    wants_all_usage: bool,
    /// Whether thoughts are asked for, so that they have to be told from the answer.
    wants_thoughts: bool,
}

/// What a request is made ready for.
struct Preparation {
    target: Target,
    repairs: Repairs,
    model: String,
    /// Whether the body may be needed again.
    keeps_body: bool,
}

impl Asked {
    fn read(body: Bytes, mut permit: BodyPermit) -> Result<Self, Fault> {
        // Some clients begin a file, and what they send from it, with a mark of its byte order.
        let body = if body.starts_with(b"\xEF\xBB\xBF") { body.slice(3..) } else { body };
        let glance = Glance::of(&body);
        let is_plain = glance.as_ref().is_some_and(Glance::is_plain);
        let options = glance.as_ref().and_then(|it| it.stream_options(&body));
        if !is_plain || options.is_some() {
            take_room(&mut permit, &body, "the request", too_many_values)?;
        }
        let (model, is_stream, options) = match &glance {
            Some(glance) => (glance.model().map(str::to_owned), glance.is_stream(), options),
            None => {
                let request = read(&body)?;
                (request.model.clone(), request.is_stream(), request.stream_options)
            }
        };
        let model = model.filter(|it| !it.is_empty()).ok_or_else(|| {
            let message = "the request names no model; GET /v1/models lists those that there are";
            Fault::new(StatusCode::BAD_REQUEST, "missing_model", message).with_param("model")
        })?;
        let wants_all_usage =
            options.as_ref().is_some_and(|it| it.extra.get("continuous_usage_stats").is_some());
        Ok(Self {
            has_stream_options: options.is_some(),
            wants_usage: options.as_ref().and_then(|it| it.include_usage).unwrap_or(false),
            wants_all_usage,
            wants_thoughts: !is_plain && memchr::memmem::find(&body, b"\"include_thoughts\"").is_some(),
            body,
            permit,
            glance,
            model,
            is_stream,
        })
    }

    /// The request, made ready for a place. The last place gets the body itself, the others copies.
    fn prepared(&mut self, job: &Preparation) -> Result<(PreparedRequest, bool), Fault> {
        let target = job.target;
        let refused = |rejection| Fault::of_rejection(&rejection);
        let is_tagged =
            self.wants_thoughts && is_gemini(target.dialect) && job.repairs.contains(Repair::ThoughtsApart);
        // What the gateway does itself is not asked of a server that would not.
        let does_usage = self.has_stream_options
            && target.dialect.is_vertex_gemini()
            && job.repairs.contains(Repair::UsageAsAsked);
        match &self.glance {
            Some(glance) if !is_tagged && !does_usage => {
                let (body, glance) = if glance.model() == Some(&job.model) {
                    let body =
                        if job.keeps_body { self.body.clone() } else { std::mem::take(&mut self.body) };
                    (Vec::from(body), glance.clone())
                } else {
                    glance.clone().with_model(&self.body, &job.model)
                };
                prepare_glanced(body, Some(&glance), &target).map(|it| (it, false)).map_err(refused)
            }
            _ => {
                let mut request = read(&self.body)?;
                request.model = Some(job.model.clone());
                if does_usage {
                    request.stream_options = None;
                }
                let is_tagged = is_tagged && ask_for_tags(&mut request);
                prepare(request, &target).map(|it| (it, is_tagged)).map_err(refused)
            }
        }
    }
}

fn is_gemini(dialect: Dialect) -> bool {
    dialect.is_vertex_gemini() || dialect == Dialect::GeminiDeveloper
}

fn read(body: &[u8]) -> Result<ChatRequest, Fault> {
    ChatRequest::from_json(body).map_err(|error| {
        let fault = Fault::new(
            StatusCode::BAD_REQUEST,
            "invalid_json",
            format!("the body is not a request: {error}"),
        );
        if error.path().is_empty() { fault } else { fault.with_param(error.path()) }
    })
}

/// Has thoughts come in tags, so that they can be told from the answer; whether that was not asked for already.
fn ask_for_tags(request: &mut ChatRequest) -> bool {
    let body = request.extra_body.get_or_insert_with(ExtraBody::default);
    // Nested once too often, as it will be put right on the way.
    if let Some(mut inner) = body.extra.get("extra_body").and_then(|it| it.parse_as::<ExtraBody>().ok())
        && let Some(google) = &mut inner.google
    {
        let is_tagged = tag(google);
        body.extra.insert("extra_body", Json::from_serialize(&inner).expect("because it was JSON"));
        return is_tagged;
    }
    let google = match (&mut body.google, &mut request.google) {
        (Some(google), _) | (None, Some(google)) => google,
        (none, None) => none.get_or_insert_with(GoogleOptions::default),
    };
    tag(google)
}

/// Has thoughts come in tags, where they are asked for and no other tag is.
fn tag(google: &mut GoogleOptions) -> bool {
    let asks = google.thinking_config.as_ref().and_then(|it| it.include_thoughts) == Some(true);
    if !asks || google.thought_tag_marker.is_some() {
        return false;
    }
    google.thought_tag_marker = Some(THOUGHT_TAG.to_owned());
    true
}

/// A request that is put to one server.
struct Ask<'a> {
    asked: &'a Asked,
    place: &'a Try,
    /// Whether nobody else is left to be asked.
    is_last: bool,
    headers: &'a HeaderMap,
    state: &'a State,
    clock: &'a Arc<dyn Clock>,
}

impl Ask<'_> {
    async fn once(
        &self,
        mut call: Call,
        ready: Result<(PreparedRequest, bool), Fault>,
    ) -> Result<Response, (Fault, Call)> {
        let (prepared, is_tagged) = match ready {
            Ok(prepared) => prepared,
            Err(fault) => return Err((fault, call)),
        };
        call.prepared(prepared.report());
        let client = self.place.server().client();
        let options = self.options().with_attempts_counter(call.attempts());
        let sent = call.waiting(client.send(prepared, &options)).await;
        let (body, meta) = match sent {
            Ok(response) => response.into_parts(),
            Err(error) => {
                call.sent(error.attempts(), error.resent());
                return Err((Fault::of(&error), call));
            }
        };
        call.sent(meta.attempts(), meta.resent());
        let repairs = match self.asked.wants_all_usage {
            true => self.place.target.repairs.without(Repair::UsageAsAsked),
            false => self.place.target.repairs,
        };
        let created = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let repairer = Repairer::new(
            repairs,
            &call.entry.request_id,
            &self.place.model,
            i64::try_from(created).unwrap_or(i64::MAX),
        );
        let repairer = repairer.with_usage(self.asked.wants_usage).with_tags(is_tagged);
        let repairer = repairer.with_names(meta.report().function_names());
        if self.asked.is_stream && !is_json(meta.headers()) {
            let mut relay = Relay::new(body, repairer, call, Arc::clone(self.clock), self.state.keep_alive);
            let dialect = client.dialect(Some(&self.place.model));
            if matches!(dialect, Dialect::Vllm | Dialect::Tgi | Dialect::OpenAi) {
                relay = relay.with_ends_in_place();
            }
            return Box::pin(self.streamed(relay, meta.report())).await;
        }
        self.whole(body, repairer, call, meta.report()).await
    }

    fn options(&self) -> CallOptions {
        let target = &self.place.target;
        // While there is somebody else to ask, nobody is asked twice.
        let mut options = CallOptions::new()
            .with_timeouts(target.timeouts)
            .with_retry_after_sending(target.retry_after_sending);
        options =
            if self.is_last { options.with_retry(target.retry.clone()) } else { options.without_retry() };
        if !target.is_openai {
            for name in FORWARDED {
                if let Some(value) = self.headers.get(&name) {
                    options = options.with_header(name, value.clone());
                }
            }
        }
        options
    }

    /// Callers put its future into a box: it is larger than all other futures together, and would be moved for whole answers too.
    async fn streamed(&self, relay: Relay, report: &Report) -> Result<Response, (Fault, Call)> {
        let mut relay = relay.first().await?;
        let mut response = event_stream();
        let call = relay.call();
        self.tell(response.headers_mut(), call, report);
        call.entry.status = StatusCode::OK.as_u16();
        *response.body_mut() = Body::stream(relay);
        Ok(response)
    }

    async fn whole(
        &self,
        body: Body,
        mut repairer: Repairer,
        mut call: Call,
        report: &Report,
    ) -> Result<Response, (Fault, Call)> {
        let mut permit = call.bodies().permit();
        let text = match call.waiting(body.collect_with(COMPLETION_BYTES_MAX, &mut permit)).await {
            Ok(text) => text,
            Err(error) => return Err((Fault::broken_off(&error), call)),
        };
        let bytes = text.len();
        if let Err(fault) = take_room(&mut permit, &text, "the answer", too_much_of_an_answer) {
            return Err((fault, call));
        }
        if self.asked.is_stream {
            let completion = match call.heavy().by_size(bytes, move || read_completion(&text)).await {
                Ok(completion) => completion,
                Err(fault) => return Err((fault, call)),
            };
            let clock = Arc::clone(self.clock);
            let relay = in_place(bytes, || Relay::of_whole(completion, repairer, call, clock));
            return Box::pin(self.streamed(relay, report)).await;
        }
        let repair = move || {
            let text =
                read_completion(&text).map(|mut completion| match repairer.whole(&mut completion, &text) {
                    true => Bytes::from(completion.to_json()),
                    false => text,
                });
            (text, repairer)
        };
        let (text, repairer) = call.heavy().by_size(bytes, repair).await;
        let text = match text {
            Ok(text) => text,
            Err(fault) => return Err((fault, call)),
        };
        call.tokens(repairer.usage.as_ref());
        call.repaired(repairer.applied);
        if let Err(room) = permit.resize(text.len()) {
            return Err((Fault::no_room(room, "the answer"), call));
        }
        // A small answer is in the connection's own buffer in no time.
        let text = if text.len() > UNCOUNTED_BYTES_MAX { permit.bind(text) } else { text };
        let mut response = Response::new(text.into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.tell(headers, &mut call, report);
        if !call.entry.repaired.is_empty() {
            headers.insert(REPAIRED, list(call.entry.repaired.iter().copied()));
        }
        call.end(StatusCode::OK);
        Ok(response)
    }

    /// Tells in headers who answered, what was done to the request, and what it took.
    fn tell(&self, headers: &mut HeaderMap, call: &mut Call, report: &Report) {
        call.answered(report);
        let mut add = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        add(REQUEST_ID, &call.entry.request_id);
        add(TARGET, &self.place.server().label);
        add(MODEL, &self.place.model);
        if !report.is_empty() {
            if report.dropped().next().is_some() {
                headers.insert(DROPPED, list(report.dropped()));
            }
            if report.forwarded().next().is_some() {
                headers.insert(FORWARDED_PARAMETERS, list(report.forwarded()));
            }
            let rules = report.rules();
            if !rules.is_empty() {
                headers.insert(REWRITTEN, list(rules.into_iter().map(Rewrite::name)));
            }
        }
        headers.insert(
            OVERHEAD,
            HeaderValue::from(u64::try_from(call.overhead().as_micros()).unwrap_or(u64::MAX)),
        );
    }
}

/// The head of a streamed answer.
pub(crate) fn event_stream() -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would keep the events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Words in a header, cut between two of them when there are too many.
fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> HeaderValue {
    let mut text = String::new();
    for word in words {
        if text.len() + word.len() + ", …".len() > LIST_BYTES_MAX {
            text.push_str(", ...");
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(word);
    }
    // A field that a client has made up may have any letters.
    HeaderValue::from_str(&text).unwrap_or_else(|_| {
        let plain: String =
            text.chars().map(|it| if it.is_ascii_graphic() || it == ' ' { it } else { '?' }).collect();
        HeaderValue::from_str(&plain).unwrap_or(HeaderValue::from_static("?"))
    })
}

/// Reads a whole answer, or the error that came in its place.
fn read_completion(text: &[u8]) -> Result<ChatCompletion, Fault> {
    let detected = || ApiError::detect(text).map(|api| Fault::of_midway(&api));
    let completion = ChatCompletion::from_json(text).map_err(|error| {
        detected().unwrap_or_else(|| {
            Fault::upstream("upstream_unreadable", format!("the model's server sent no completion: {error}"))
        })
    })?;
    if completion.choices.is_empty() {
        return Err(detected().unwrap_or_else(no_choices));
    }
    let mut reasons = completion.choices.iter().filter_map(|it| it.finish_reason.get());
    match reasons.find(|it| it.is_failure()) {
        Some(reason) => Err(failed_answer(reason)),
        None => Ok(completion),
    }
}
