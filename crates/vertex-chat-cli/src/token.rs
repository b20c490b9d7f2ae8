//! `vertex-chat token`: an access token, for programs that cannot get one themselves.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use vertex_chat::auth::{Credentials, CredentialsOptions, TokenSource};
use vertex_chat::transport::{HttpConnector, SystemClock};

use crate::{Failure, out};

#[derive(Debug, Args)]
pub(crate) struct TokenArguments {
    /// A credential file of any kind. Else GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, the metadata server.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// The account of the command gcloud, which is not that of gcloud's application default credentials.
    #[arg(long, conflicts_with = "credentials")]
    gcloud: bool,
    /// Print an HTTP header: `Authorization: Bearer …`.
    #[arg(long, conflicts_with = "json")]
    header: bool,
    /// Print JSON: the token, and the headers that go with it.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: TokenArguments) -> Result<(), Failure> {
    let credentials = match arguments.gcloud {
        true => options().from_gcloud(),
        false => find(arguments.credentials.as_ref())?,
    };
    let token = credentials.refresh().await?;
    let secret = token.secret().expose();
    if arguments.header {
        return out::line(format_args!("Authorization: Bearer {secret}"));
    }
    if arguments.json {
        let headers: serde_json::Map<_, _> = token
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into())))
            .collect();
        return out::line(json!({"access_token": secret, "token_type": "Bearer", "headers": headers}));
    }
    out::line(secret)
}

pub(crate) fn find(file: Option<&PathBuf>) -> Result<Credentials, Failure> {
    Ok(match file {
        Some(path) => options().from_file(path)?,
        None => options().find()?,
    })
}

pub(crate) fn options() -> CredentialsOptions {
    CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(SystemClock))
}
