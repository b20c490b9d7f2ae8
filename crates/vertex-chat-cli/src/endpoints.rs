//! `vertex-chat endpoints`: what `gcloud ai endpoints list` shows.

use clap::Args;
use serde_json::json;
use vertex_chat::Client;

use crate::target::Target;
use crate::{Failure, out};

#[derive(Debug, Args)]
pub(crate) struct EndpointsArguments {
    #[command(flatten)]
    target: Target,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: EndpointsArguments) -> Result<(), Failure> {
    let client = arguments.target.client(Client::builder()).await?;
    let endpoints = client.endpoints().await?;
    if arguments.json {
        let list: Vec<_> = endpoints
            .iter()
            .map(|it| json!({"id": it.id, "display_name": it.display_name, "dedicated_host": it.dedicated_host, "models": it.models}))
            .collect();
        return out::line(serde_json::to_string_pretty(&list).expect("because it is JSON"));
    }
    if endpoints.is_empty() {
        out::note(
            "no endpoints at this location; deploy a model from Model Garden, or name another --location",
        );
    }
    for endpoint in endpoints {
        let host = endpoint.dedicated_host.map(|host| format!("  --host {host}")).unwrap_or_default();
        out::line(format_args!(
            "{}  {}  {}{host}",
            endpoint.id,
            endpoint.display_name,
            endpoint.models.join(", ")
        ))?;
    }
    Ok(())
}
