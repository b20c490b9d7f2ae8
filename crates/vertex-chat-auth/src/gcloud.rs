//! The command `gcloud` as a source: the account that a person has there, which is not the account of their application
//! default credentials.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use serde_json::{Map, Value};
use vertex_chat_transport::Clock;

use crate::file::Fields;
use crate::impersonation::life_until;
use crate::process::run;
use crate::source::quota_header;
use crate::{AuthError, AuthErrorKind, Fetch, FetchedToken, Secret};

const PROGRAM: &str = if cfg!(windows) { "gcloud.cmd" } else { "gcloud" };
/// How long it may take: it starts slowly, and may refresh its own token.
const LIMIT: Duration = Duration::from_secs(30);
const REMEDY: &str =
    "run `gcloud auth login`; for programs, `gcloud auth application-default login` is better";

/// Gets tokens from gcloud.
#[derive(Debug)]
pub(crate) struct GcloudSource {
    quota_project: Option<String>,
    clock: Arc<dyn Clock>,
}

impl GcloudSource {
    pub(crate) fn new(quota_project: Option<String>, clock: Arc<dyn Clock>) -> Self {
        Self { quota_project, clock }
    }

    /// The project of gcloud's configuration.
    pub(crate) async fn project_id(&self) -> Result<Option<String>, AuthError> {
        self.ask().await.map(|(_, project)| project)
    }

    /// A token, and the project of the configuration.
    async fn ask(&self) -> Result<(FetchedToken, Option<String>), AuthError> {
        let asked_at = self.clock.monotonic();
        let arguments = ["config", "config-helper", "--format=json"].map(str::to_owned);
        let variables = [("CLOUDSDK_CORE_DISABLE_PROMPTS", "1")];
        let finished = run(PROGRAM, &arguments, &variables, LIMIT, &self.clock).await.map_err(|error| {
            if error.is_transient() {
                return error;
            }
            error.with_remedy("install Google Cloud's command line, or use other credentials")
        })?;
        if finished.code != Some(0) {
            let message = format!("{PROGRAM} config config-helper failed");
            return Err(AuthError::new(AuthErrorKind::Refused, message).with_remedy(REMEDY));
        }
        let wrong =
            |what: &str| AuthError::configuration(format!("gcloud's answer {what}")).with_remedy(REMEDY);
        let answer: Map<String, Value> =
            serde_json::from_slice(&finished.output).map_err(|_| wrong("is not JSON"))?;
        let project =
            answer.get("configuration").and_then(|it| it.get("properties")?.get("core")?.get("project"));
        let project = project.and_then(Value::as_str).map(str::to_owned);
        let credential = answer.get("credential").and_then(Value::as_object);
        let word = |name: &str| credential.and_then(|it| it.text(name));
        let token = word("access_token").ok_or_else(|| wrong("has no token"))?;
        // Its tokens are cached, so they do not live for an hour from now.
        let until = word("token_expiry").ok_or_else(|| wrong("does not say how long the token lives"))?;
        let life = life_until(until, self.clock.wall()).ok_or_else(|| wrong("has a token that has ended"))?;
        Ok((FetchedToken { secret: Secret::new(token), asked_at, life }, project))
    }
}

#[async_trait]
impl Fetch for GcloudSource {
    async fn fetch(&self) -> Result<FetchedToken, AuthError> {
        self.ask().await.map(|(token, _)| token)
    }

    fn time_max(&self) -> Duration {
        LIMIT
    }

    fn headers(&self) -> HeaderMap {
        quota_header(self.quota_project.as_deref())
    }
}
