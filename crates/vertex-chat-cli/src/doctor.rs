//! `vertex-chat doctor`: what was found, where, and what is missing.

use clap::Args;
use vertex_chat::Client;
use vertex_chat::auth::{Environment, PROJECT_VARIABLES, TokenSource};

use crate::target::Target;
use crate::token::find;
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
        Some(url) => Some(format!("{url} (--base-url)")),
        None if by_names => None,
        None => environment.get("OPENAI_BASE_URL").map(|url| format!("{url} (OPENAI_BASE_URL)")),
    };
    let credentials = find(target.credentials.as_ref());
    match &base_url {
        Some(url) => {
            out::line(format_args!("base URL     {url}"))?;
            let key = environment.get("OPENAI_API_KEY").map_or("not set", |_| "set");
            out::line(format_args!("API key      OPENAI_API_KEY is {key}"))?;
        }
        None => {
            let own = credentials.as_ref().ok().and_then(|it| it.project_id());
            out::line(format_args!("project      {}", project(target, &environment, own)))?;
            let location = match (&target.location, environment.get("GOOGLE_CLOUD_LOCATION")) {
                (Some(location), _) => format!("{location} (--location)"),
                (None, Some(location)) => format!("{location} (GOOGLE_CLOUD_LOCATION)"),
                (None, None) if target.endpoint.is_some() => {
                    "missing: an endpoint is at one; give --location or set GOOGLE_CLOUD_LOCATION".to_owned()
                }
                (None, None) => "global (by default; --location or GOOGLE_CLOUD_LOCATION)".to_owned(),
            };
            out::line(format_args!("location     {location}"))?;
            let endpoint = target
                .endpoint
                .as_deref()
                .unwrap_or("openapi (Gemini and partners; --endpoint for your own)");
            out::line(format_args!("endpoint     {endpoint}"))?;
        }
    }
    match &credentials {
        Ok(found) => {
            let account = found.account().map(|it| format!(" of {it}")).unwrap_or_default();
            out::line(format_args!("credentials  {}{account}", found.kind()))?;
            out::line(format_args!("  found in   {}", found.origin()))?;
        }
        Err(Failure::Auth(error)) => out::line(format_args!("credentials  missing: {error}"))?,
        Err(_) => {}
    }
    if let Some((name, _)) = environment.first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]) {
        out::line(format_args!("proxy        set by {name}"))?;
    }
    let client = target.apply(Client::builder()).build();
    match &client {
        Ok(client) => out::line(format_args!("requests go  to {}", client.chat_url()))?,
        Err(error) => out::line(format_args!("requests go  nowhere: {error}"))?,
    }
    if let (Ok(found), false) = (&credentials, arguments.offline) {
        match found.refresh().await {
            Ok(_) => out::line("token        got one")?,
            Err(error) => {
                out::line(format_args!("token        none: {error}"))?;
                return Err(error.into());
            }
        }
    }
    client.map(|_| ()).map_err(Failure::Client)
}

fn project(target: &Target, environment: &Environment, of_credentials: Option<&str>) -> String {
    if let Some(project) = &target.project {
        return format!("{project} (--project)");
    }
    if let Some((name, project)) = environment.first(&PROJECT_VARIABLES) {
        return format!("{project} ({name})");
    }
    match of_credentials {
        Some(project) => format!("{project} (the credentials)"),
        None => {
            "missing: give --project, set GOOGLE_CLOUD_PROJECT, or use a key file that names one".to_owned()
        }
    }
}
