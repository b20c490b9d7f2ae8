//! The options that say where requests go and with which credentials.

use std::path::PathBuf;

use clap::Args;
use vertex_chat::{Client, ClientBuilder, Dialect};

use crate::Failure;

/// Where requests go. What is not given is taken from the environment; `vertex-chat doctor` shows what that makes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct Target {
    /// The project. Else GOOGLE_CLOUD_PROJECT, GCLOUD_PROJECT, the credentials' own.
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// A region, `global`, `us` or `eu`. Else GOOGLE_CLOUD_LOCATION, `global`.
    #[arg(long)]
    pub(crate) location: Option<String>,
    /// The id of an endpoint of your own, in place of Gemini and the partners' models.
    #[arg(long)]
    pub(crate) endpoint: Option<String>,
    /// The host of a dedicated endpoint, or `http://127.0.0.1:PORT` of an emulator.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Everything before `/chat/completions`: any other server. Else OPENAI_BASE_URL, if no project, location, endpoint
    /// or host is given.
    #[arg(long, conflicts_with_all = ["project", "location", "endpoint", "host"])]
    pub(crate) base_url: Option<String>,
    /// v1 or v1beta1.
    #[arg(long)]
    pub(crate) api_version: Option<String>,
    /// The kind of server: vertex-gemini-2, vertex-gemini-3, gemini-developer, vertex-partner, vllm, tgi, openai.
    #[arg(long)]
    pub(crate) dialect: Option<Dialect>,
    /// A credential file of any kind. Else GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, the metadata server.
    #[arg(long, value_name = "FILE")]
    pub(crate) credentials: Option<PathBuf>,
}

impl Target {
    /// Whether a server is named here, and not left to the environment.
    pub(crate) fn is_given(&self) -> bool {
        [&self.project, &self.location, &self.endpoint, &self.host, &self.base_url]
            .into_iter()
            .any(Option::is_some)
    }

    /// A client. Where nothing names a project, whoever knows it is asked.
    pub(crate) async fn client(&self, builder: ClientBuilder) -> Result<Client, Failure> {
        Ok(self.apply(builder).discover().await?.build()?)
    }

    pub(crate) fn apply(&self, mut builder: ClientBuilder) -> ClientBuilder {
        if let Some(it) = &self.project {
            builder = builder.project(it);
        }
        if let Some(it) = &self.location {
            builder = builder.location(it);
        }
        if let Some(it) = &self.endpoint {
            builder = builder.endpoint(it);
        }
        if let Some(it) = &self.host {
            builder = builder.host(it);
        }
        if let Some(it) = &self.base_url {
            builder = builder.base_url(it);
        }
        if let Some(it) = &self.api_version {
            builder = builder.api_version(it);
        }
        if let Some(it) = self.dialect {
            builder = builder.dialect(it);
        }
        if let Some(it) = &self.credentials {
            builder = builder.credentials_file(it);
        }
        builder
    }
}
