//! The metadata server's manners: who may ask, and what every answer carries.

use http::{HeaderValue, StatusCode};
use vertex_chat_transport::{Request, Response};

use crate::reply::raw_reply;

pub(crate) const FLAVOR: &str = "metadata-flavor";
pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Why this request is not answered: one that a stranger could have a program make.
pub(crate) fn refusal(request: &Request) -> Option<Response> {
    let headers = request.headers();
    let is_own = headers.get(FLAVOR).is_some_and(|it| it == "Google")
        && !headers.contains_key("x-forwarded-for")
        && is_for_this_machine(request);
    (!is_own).then(|| {
        let page =
            "<html><title>Error 403 (Forbidden)!!1</title>Missing Metadata-Flavor:Google header.</html>";
        signed(raw_reply(StatusCode::FORBIDDEN, "text/html; charset=UTF-8", page))
    })
}

/// Whether the request names this machine or the server: a page in a browser may have a name of its own lead here.
fn is_for_this_machine(request: &Request) -> bool {
    let Some(host) = request.headers().get("host").and_then(|it| it.to_str().ok()) else { return true };
    let Ok(host) = host.parse::<http::uri::Authority>() else { return false };
    let name = host.host().trim_matches(['[', ']']);
    ["localhost", "metadata", "metadata.google.internal", "169.254.169.254"].contains(&name)
        || name.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// A value, as JSON where it is an object.
pub(crate) fn reply(request: &Request, value: &str) -> Response {
    let content_type = if value.starts_with('{') { "application/json" } else { "application/text" };
    refusal(request).unwrap_or_else(|| signed(raw_reply(StatusCode::OK, content_type, value.to_owned())))
}

/// For whom an ID token is asked for.
pub(crate) fn audience(request: &Request) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    let audience = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "audience")?.1;
    Some(audience.into_owned()).filter(|it| !it.is_empty())
}

pub(crate) fn missing(request: &Request) -> Response {
    let page = "<html><title>Error 404 (Not Found)!!1</title></html>";
    let missing = || signed(raw_reply(StatusCode::NOT_FOUND, "text/html; charset=UTF-8", page));
    refusal(request).unwrap_or_else(missing)
}

fn signed(mut response: Response) -> Response {
    response.headers_mut().insert(FLAVOR, HeaderValue::from_static("Google"));
    response.headers_mut().insert("server", HeaderValue::from_static("Metadata Server for VM"));
    response
}
