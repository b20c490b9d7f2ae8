//! The options that say where requests go and with which credentials.

use std::path::PathBuf;

use clap::Args;
use vertex_chat::auth::{FILE_TIMEOUT, Zeroizing, check_path, read_bounded, shown_path};
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
    /// A further host that may receive the access token: one that is not Google's, by https. It can act for you while the
    /// token lives. May be given several times.
    #[arg(long, value_name = "HOST")]
    pub(crate) token_host: Vec<String>,
    /// Certificates in PEM: of authorities to trust, or a server's own, such as a private endpoint's. Beside the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
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
        Ok(self.apply(builder).await?.discover().await?.build()?)
    }

    pub(crate) async fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, Failure> {
        for host in &self.token_host {
            builder = builder.allow_token_host(host);
        }
        if let Some(path) = &self.ca_file {
            let pem = read_certificates(path.clone()).await?;
            builder = builder
                .certificates_pem(&pem)
                .map_err(|error| Failure::Configuration(format!("--ca-file {}: {error}", path.display())))?;
        }
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
        Ok(builder)
    }
}

async fn read_certificates(path: PathBuf) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let wrong = |what: String| Failure::Configuration(format!("--ca-file: {what}"));
    let shown = path.clone();
    // A file may be on a drive that hangs.
    let read = tokio::task::spawn_blocking(move || {
        check_path(&path)
            .map_err(|what| format!("this has to be the path of a file; the value seems to be {what}"))?;
        read_bounded(&path).map_err(|error| format!("{}: {error}", path.display()))
    });
    let read = tokio::time::timeout(FILE_TIMEOUT, read).await;
    let read = read.map_err(|_| wrong(format!("{} does not come", shown_path(&shown))))?;
    read.map_err(|error| wrong(error.to_string()))?.map_err(wrong)
}
