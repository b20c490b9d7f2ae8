//! Where requests go: the URL of an endpoint, built from names that are checked first.

use http::Uri;
use vertex_chat_params::Dialect;
use vertex_chat_transport::{LogText, is_loopback};

/// The endpoint id behind which Gemini and the partners' models are.
pub(crate) const OPENAPI: &str = "openapi";
/// Where requests go when nobody says where: the newest Gemini models exist only here.
pub(crate) const DEFAULT_LOCATION: &str = "global";
const DEFAULT_VERSION: &str = "v1";

/// An endpoint on Vertex, by its names.
#[derive(Clone, Debug)]
pub(crate) struct VertexEndpoint {
    pub(crate) project: String,
    pub(crate) location: String,
    pub(crate) endpoint: String,
    pub(crate) host: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) universe: String,
}

impl VertexEndpoint {
    /// `https://…/v1/projects/P/locations/L`.
    pub(crate) fn parent_url(&self) -> Result<String, String> {
        check_name("project", &self.project, PROJECT_SIGNS)?;
        check_name("location", &self.location, LOCATION_SIGNS)?;
        let version = self.version.as_deref().unwrap_or(DEFAULT_VERSION);
        check_name("API version", version, "")?;
        let origin = match &self.host {
            Some(host) => origin_of(host)?,
            None => format!("https://{}", self.regional_host()),
        };
        let (project, location) = (&self.project, &self.location);
        Ok(format!("{origin}/{version}/projects/{project}/locations/{location}"))
    }

    /// What an OpenAI library calls the base URL.
    pub(crate) fn base_url(&self) -> Result<String, String> {
        check_name("endpoint", &self.endpoint, "-_")?;
        Ok(format!("{}/endpoints/{}", self.parent_url()?, self.endpoint))
    }

    fn regional_host(&self) -> String {
        let universe = &self.universe;
        match self.location.as_str() {
            "global" => format!("aiplatform.{universe}"),
            multi @ ("us" | "eu") => format!("aiplatform.{multi}.rep.{universe}"),
            region => format!("{region}-aiplatform.{universe}"),
        }
    }
}

/// What a project's and a location's name have beside letters and digits.
pub(crate) const PROJECT_SIGNS: &str = ":.-_";
pub(crate) const LOCATION_SIGNS: &str = "-";

/// Whether a name may stand in a URL's path: letters, digits and these, and not too many. What would need escaping is no
/// name of Google's.
pub(crate) fn check_name(what: &str, name: &str, also: &str) -> Result<(), String> {
    const NAME_BYTES_MAX: usize = 256;
    let known = name.chars().all(|it| it.is_ascii_alphanumeric() || also.contains(it));
    if name.is_empty() || !known || name.len() > NAME_BYTES_MAX || name.starts_with('.') {
        let extra = if also.is_empty() { String::new() } else { format!(" and `{also}`") };
        return Err(format!("the {what} is not a name of letters, digits{extra}"));
    }
    Ok(())
}

/// A host as people write it: with or without a scheme.
fn origin_of(host: &str) -> Result<String, String> {
    let bare = host.trim_end_matches('/');
    let url = if bare.contains("://") { bare.to_owned() } else { format!("https://{bare}") };
    let uri = parse_base_url(&url)?;
    if uri.path() != "/" {
        return Err("the host has a path; give it as the base URL instead".to_owned());
    }
    Ok(url)
}

/// What calls add to a base URL; people paste it with the rest.
const PATHS_OF_CALLS: [&str; 5] =
    ["/chat/completions", "/completions", "/responses", "/embeddings", "/messages"];
/// How much of a method's name is shown, in characters.
const METHOD_CHARS_MAX: usize = 40;

/// Reads a base URL: http or https, a host, no user, no query.
pub(crate) fn parse_base_url(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| "the base URL is not a URL such as https://host/v1".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("the base URL begins neither with https:// nor with http://".to_owned());
    }
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err("the base URL has a user name in it".to_owned());
    }
    if uri.host().unwrap_or_default().is_empty() {
        return Err("the base URL has no host".to_owned());
    }
    if uri.query().is_some() || url.contains('#') {
        return Err("the base URL has a query or a fragment".to_owned());
    }
    let path = uri.path().trim_end_matches('/');
    if let Some(end) = PATHS_OF_CALLS.iter().find(|end| path.ends_with(**end)) {
        return Err(format!(
            "the base URL ends in `{end}`; leave that out: `/chat/completions` is added to the base URL"
        ));
    }
    // Vertex's methods for one model: `…/endpoints/12:predict`, `…/models/m:rawPredict`.
    if let Some((_, method)) = path.rsplit('/').next().unwrap_or_default().split_once(':') {
        return Err(format!(
            "the base URL ends in `:{}`, a method of another API; for Chat Completions it is everything up to the endpoint's id, as in \
             https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION/endpoints/ENDPOINT",
            LogText::new(method, METHOD_CHARS_MAX)
        ));
    }
    Ok(uri)
}

/// The URL of chat completions below a base URL.
pub(crate) fn chat_url(base: &str) -> Result<Uri, String> {
    let base = base.trim_end_matches('/');
    parse_base_url(base)?;
    format!("{base}/chat/completions").parse().map_err(|_| "the base URL is too long".to_owned())
}

/// What a base URL tells about the server behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Vertex, the endpoint `openapi`: the dialect is the model's.
    VertexOpenapi,
    /// Vertex, an endpoint of one's own.
    VertexEndpoint,
    /// The Gemini Developer API.
    GeminiDeveloper,
    /// Anything else.
    Other,
}

impl Shape {
    pub(crate) fn of(url: &Uri) -> Self {
        let mut segments = url.path().split('/').skip(1);
        let vertex = matches!(segments.next(), Some("v1" | "v1beta1"))
            && segments.next() == Some("projects")
            && segments.next().is_some()
            && segments.next() == Some("locations")
            && segments.next().is_some()
            && segments.next() == Some("endpoints");
        match (vertex, segments.next()) {
            (true, Some(OPENAPI)) => Self::VertexOpenapi,
            (true, Some(_)) => Self::VertexEndpoint,
            _ if url.host() == Some("generativelanguage.googleapis.com") => Self::GeminiDeveloper,
            _ => Self::Other,
        }
    }

    /// The dialect, unless a person names one.
    pub(crate) fn dialect(self, model: Option<&str>) -> Dialect {
        match self {
            Self::VertexOpenapi => Dialect::of_vertex_model(model),
            Self::VertexEndpoint => Dialect::Vllm,
            Self::GeminiDeveloper => Dialect::GeminiDeveloper,
            Self::Other => Dialect::OpenAi,
        }
    }

    /// Who is behind it, in OpenTelemetry's words.
    pub(crate) fn provider(self) -> &'static str {
        match self {
            Self::VertexOpenapi | Self::VertexEndpoint => "gcp.vertex_ai",
            Self::GeminiDeveloper => "gcp.gemini",
            Self::Other => "openai",
        }
    }

    /// Whether Google's credentials are what it wants: on Google's own hosts and on this machine, where an emulator
    /// shows the same paths.
    pub(crate) fn wants_google_token(self, url: &Uri, universe: &str) -> bool {
        let host = url.host().unwrap_or_default();
        let vertex = matches!(self, Self::VertexOpenapi | Self::VertexEndpoint);
        vertex && (is_loopback(host) || crate::trust::is_google_host(host, universe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(location: &str, id: &str) -> VertexEndpoint {
        VertexEndpoint {
            project: "p".into(),
            location: location.into(),
            endpoint: id.into(),
            host: None,
            version: None,
            universe: "googleapis.com".into(),
        }
    }

    #[test]
    fn every_location_has_its_host() {
        let check = |location: &str, host: &str| {
            let expected = format!("https://{host}/v1/projects/p/locations/{location}/endpoints/openapi");
            assert_eq!(endpoint(location, OPENAPI).base_url(), Ok(expected));
        };
        check("us-central1", "us-central1-aiplatform.googleapis.com");
        check("global", "aiplatform.googleapis.com");
        check("us", "aiplatform.us.rep.googleapis.com");
        check("eu", "aiplatform.eu.rep.googleapis.com");
    }

    #[test]
    fn a_dedicated_host_and_a_local_one_are_taken_as_they_are() {
        let mut it = endpoint("us-central1", "123");
        it.host = Some("123.us-central1-4.prediction.vertexai.goog".into());
        it.version = Some("v1beta1".into());
        let path = "v1beta1/projects/p/locations/us-central1/endpoints/123";
        assert_eq!(it.base_url(), Ok(format!("https://123.us-central1-4.prediction.vertexai.goog/{path}")));
        it.host = Some("http://127.0.0.1:8080/".into());
        assert_eq!(it.base_url(), Ok(format!("http://127.0.0.1:8080/{path}")));
        for host in ["host/path", "https://user@host", "host?x", "ftp://host", "", "a b"] {
            it.host = Some(host.into());
            assert!(it.base_url().is_err(), "{host}");
        }
    }

    #[test]
    fn no_name_escapes_from_its_segment() {
        let hostile = [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a%2Fb",
            "a?b",
            "a#b",
            "a b",
            "a\n",
            "a@b",
            "a\\b",
            "é",
            "gemini-2.5-flash/../../../endpoints/openapi/chat/completions",
        ];
        for name in hostile {
            assert!(endpoint("us-central1", name).base_url().is_err(), "endpoint {name:?}");
            assert!(endpoint(name, OPENAPI).base_url().is_err(), "location {name:?}");
            let mut it = endpoint("us-central1", OPENAPI);
            it.project = name.into();
            assert!(it.base_url().is_err(), "project {name:?}");
            it.project = "p".into();
            it.version = Some(name.into());
            assert!(it.base_url().is_err(), "version {name:?}");
        }
        assert!(endpoint("us-central1", &"1".repeat(257)).base_url().is_err());
        let mut it = endpoint("us-central1", OPENAPI);
        it.project = "example.com:project-1".into();
        assert!(it.base_url().is_ok(), "a domain-scoped project");
    }

    #[test]
    fn a_path_tells_what_is_behind_it() {
        let check = |url: &str, shape| assert_eq!(Shape::of(&url.parse().unwrap()), shape, "{url}");
        check(
            "http://127.0.0.1:1/v1/projects/p/locations/l/endpoints/openapi/chat/completions",
            Shape::VertexOpenapi,
        );
        check("https://x.googleapis.com/v1beta1/projects/p/locations/l/endpoints/12", Shape::VertexEndpoint);
        check("https://generativelanguage.googleapis.com/v1beta/openai/", Shape::GeminiDeveloper);
        check("https://api.openai.com/v1", Shape::Other);
        check("http://127.0.0.1:8000/v1/projects", Shape::Other);
    }
}
