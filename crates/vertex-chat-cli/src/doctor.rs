//! `vertex-chat doctor`: what was found, where, and what is missing.

use clap::Args;
use vertex_chat::Client;
use vertex_chat::auth::{
    Credentials, CredentialsKind, Environment, PROJECT_VARIABLES, Place, TokenSource, VARIABLES_NOT_READ,
    shown_name,
};
use vertex_chat::transport::PROXY_VARIABLES;

use crate::target::Target;
use crate::token::{find, options};
use crate::{Failure, out};

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    target: Target,
    /// Ask nobody: do not try to get a token.
    #[arg(long)]
    offline: bool,
}

pub(crate) async fn run(arguments: DoctorArguments) -> Result<(), Failure> {
    let target = &arguments.target;
    let environment = Environment::process();
    let by_names = target.project.is_some()
        || target.location.is_some()
        || target.endpoint.is_some()
        || target.host.is_some();
    let base_url = match &target.base_url {
        Some(url) => Some((url.clone(), "--base-url")),
        None if by_names => None,
        None => environment.get("OPENAI_BASE_URL").map(|url| (url, "OPENAI_BASE_URL")),
    };
    let is_vertex = base_url.as_ref().is_none_or(|(url, _)| url.contains("/projects/"));
    // The client's own order: with a base URL the key goes first, and an OpenAI key never goes to Vertex.
    let key = base_url.as_ref().and_then(|_| environment.get("OPENAI_API_KEY"));
    let key = key.filter(|key| !(is_vertex && key.starts_with("sk-")));
    let credentials = (is_vertex && key.is_none()).then(|| find(target.credentials.as_ref()));
    match &base_url {
        Some((url, origin)) => {
            out::line(format_args!("base URL     {} ({origin})", without_secrets(url)))?;
            match (&key, is_vertex) {
                (Some(_), _) => out::line("credentials  OPENAI_API_KEY")?,
                (None, false) => out::line("credentials  none; OPENAI_API_KEY is not set")?,
                (None, true) => {}
            }
        }
        None => {
            let found = credentials.as_ref().and_then(|it| it.as_ref().ok());
            out::line(format_args!("project      {}", project(target, &environment, found)))?;
            let location = match (&target.location, environment.get("GOOGLE_CLOUD_LOCATION")) {
                (Some(location), _) => format!("{} (--location)", shown_name(location)),
                (None, Some(location)) => format!("{} (GOOGLE_CLOUD_LOCATION)", shown_name(&location)),
                (None, None) if target.endpoint.is_some() => {
                    "missing: an endpoint is at one; give --location or set GOOGLE_CLOUD_LOCATION".to_owned()
                }
                (None, None) => "global (by default; --location or GOOGLE_CLOUD_LOCATION)".to_owned(),
            };
            out::line(format_args!("location     {location}"))?;
            let endpoint = target.endpoint.as_deref().map(shown_name);
            let endpoint =
                endpoint.as_deref().unwrap_or("openapi (Gemini and partners; --endpoint for your own)");
            out::line(format_args!("endpoint     {endpoint}"))?;
        }
    }
    let places = options().places();
    match &credentials {
        Some(Ok(found)) => {
            let account = found.account().map(|it| format!(" of {it}")).unwrap_or_default();
            out::line(format_args!("credentials  {}{account}", found.kind()))?;
            out::line(format_args!("  found in   {}", found.origin()))?;
            out::line(format_args!("  {}", what_it_does(found.kind())))?;
            if let Some(project) = found.quota_project_id() {
                out::line(format_args!("  bills      {}", shown_name(project)))?;
            } else if found.kind() == CredentialsKind::AuthorizedUser {
                out::line(
                    "  bills      nobody by name; if Google says 403: gcloud auth application-default set-quota-project",
                )?;
            }
        }
        Some(Err(Failure::Auth(error))) => {
            let is_there = target.credentials.is_some() || places.iter().any(Place::is_chosen);
            let word = if is_there { "unusable" } else { "missing" };
            out::line(format_args!("credentials  {word}: {error}"))?;
        }
        Some(Err(_)) | None => {}
    }
    if credentials.is_some() && target.credentials.is_none() {
        for place in &places {
            out::line(format_args!("  looked at  {place}"))?;
            if place.is_chosen() {
                break;
            }
        }
        for (name, why) in VARIABLES_NOT_READ {
            if environment.get(name).is_some() {
                out::line(format_args!("  not read   {name}: {why}"))?;
            }
        }
    }
    if let Some((name, _)) = environment.first(&PROXY_VARIABLES) {
        out::line(format_args!("proxy        set by {name}"))?;
    }
    let client = match arguments.offline {
        true => {
            let builder = target.apply(Client::builder()).await;
            builder.and_then(|it| it.build().map_err(Failure::Client))
        }
        false => target.client(Client::builder()).await,
    };
    match &client {
        Ok(client) => out::line(format_args!("requests go  to {}", client.chat_url()))?,
        Err(Failure::Client(error)) => out::line(format_args!("requests go  nowhere: {error}"))?,
        Err(Failure::Auth(error)) => out::line(format_args!("requests go  nowhere: {error}"))?,
        Err(_) => out::line("requests go  nowhere")?,
    }
    if let (Some(Ok(found)), false) = (&credentials, arguments.offline) {
        match found.refresh().await {
            Ok(_) => out::line("token        got one")?,
            Err(error) => {
                out::line(format_args!("token        none: {error}"))?;
                return Err(error.into());
            }
        }
    }
    let client = client?;
    if !arguments.offline {
        // A name that does not resolve, and a firewall, are seen here and not at the first request.
        match client.reach().await {
            Ok(()) => out::line("server       answers")?,
            Err(error) => {
                out::line(format_args!("server       does not answer: {error}"))?;
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// A URL without password and query: people paste this into reports.
fn without_secrets(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, ""), |(url, _)| (url, "?…"));
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, path)| (a, Some(path)));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            let path = path.map(|path| format!("/{path}")).unwrap_or_default();
            format!("{scheme}://{host}{path}{query}")
        }
        None => format!("{}{query}", shown_name(url)),
    }
}

fn project(target: &Target, environment: &Environment, found: Option<&Credentials>) -> String {
    if let Some(project) = &target.project {
        return format!("{} (--project)", shown_name(project));
    }
    if let Some((name, project)) = environment.first(&PROJECT_VARIABLES) {
        return format!("{} ({name})", shown_name(&project));
    }
    match (found.and_then(Credentials::project_id), found.and_then(Credentials::quota_project_id)) {
        (Some(project), _) => format!("{project} (the credentials)"),
        (None, Some(project)) => format!("{project} (what the credentials bill, because nothing names one)"),
        (None, None) if found.is_some_and(|it| it.kind() == CredentialsKind::MetadataServer) => {
            "the machine's own; the metadata server is asked".to_owned()
        }
        (None, None) if found.is_some_and(|it| it.kind() == CredentialsKind::ExternalAccount) => {
            "the pool's own; Google's resource manager is asked".to_owned()
        }
        (None, None) => {
            "missing: give --project, set GOOGLE_CLOUD_PROJECT, or use a key file that names one".to_owned()
        }
    }
}

/// How such credentials become a token, in a few words.
fn what_it_does(kind: CredentialsKind) -> &'static str {
    match kind {
        CredentialsKind::ServiceAccount => {
            "works by   signing with the key; Google gives a token for that, for an hour"
        }
        CredentialsKind::AuthorizedUser | CredentialsKind::ExternalAccountAuthorizedUser => {
            "works by   the login's refresh token; when Google refuses it, log in again"
        }
        CredentialsKind::ImpersonatedServiceAccount => {
            "works by   acting as that account, which needs the role Service Account Token Creator on it"
        }
        CredentialsKind::ExternalAccount => {
            "works by   showing a token of where this runs; Google's security token service judges it"
        }
        CredentialsKind::MetadataServer => {
            "works by   asking this machine; it needs a service account attached"
        }
        CredentialsKind::Gcloud => "works by   asking the command gcloud",
        _ => "works by   the token as it is, for as long as it lasts",
    }
}
