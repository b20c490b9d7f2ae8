//! Workload and workforce identity federation (AIP-4117): a subject token from elsewhere, exchanged for Google's at the
//! security token service (RFC 8693).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value, json};
use vertex_chat_transport::{Clock, Exchange};

use crate::file::Fields;
use crate::oauth::{TOKEN_TOTAL_TIMEOUT, ask, basic_authorization, form_request, read_token};
use crate::source::{joined, quota_header};
use crate::urls::{must_be_trusted, origin_and_path};
use crate::{AuthError, Fetch, FetchedToken, Secret, SubjectTokenSource};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// How long a token of an impersonated account may live by `token_lifetime_seconds`, in seconds.
const LIFE_SECONDS: std::ops::RangeInclusive<u64> = 600..=43_200;

/// What a credential file of type `external_account` says, but for where subject tokens come from.
pub(crate) struct ExternalAccount {
    pub(crate) audience: String,
    pub(crate) subject_token_type: String,
    token_url: String,
    /// Who asks, where the security token service wants to know.
    client: Option<(String, Secret)>,
    /// The project that a workforce's requests count for.
    user_project: Option<String>,
    /// The life of an impersonated account's token.
    pub(crate) life: Option<Duration>,
}

impl ExternalAccount {
    pub(crate) fn from_fields(fields: &Map<String, Value>, trust_urls: bool) -> Result<Self, AuthError> {
        fields.require(&["audience", "subject_token_type", "token_url"])?;
        let (audience, token_url) = (fields.must("audience")?, fields.must("token_url")?);
        if !trust_urls {
            must_be_trusted("token_url", token_url, fields.universe())?;
        }
        let user_project = fields.text("workforce_pool_user_project").map(str::to_owned);
        if user_project.is_some() && !is_workforce(audience) {
            let message = "`workforce_pool_user_project` is for workforce pools, and `audience` names none";
            return Err(AuthError::configuration(message));
        }
        let life =
            fields.get("service_account_impersonation").and_then(|it| it.get("token_lifetime_seconds"));
        let life = match life {
            None | Some(Value::Null) => None,
            Some(seconds) => Some(seconds.as_u64().filter(|it| LIFE_SECONDS.contains(it)).ok_or_else(|| {
                AuthError::configuration(format!(
                    "`service_account_impersonation.token_lifetime_seconds` is not a whole number from {} to {}",
                    LIFE_SECONDS.start(),
                    LIFE_SECONDS.end()
                ))
            })?),
        };
        let secret = fields.text("client_secret").unwrap_or_default();
        Ok(Self {
            audience: audience.to_owned(),
            subject_token_type: fields.must("subject_token_type")?.to_owned(),
            token_url: token_url.to_owned(),
            client: fields.text("client_id").map(|id| (id.to_owned(), Secret::new(secret))),
            user_project,
            life: life.map(Duration::from_secs),
        })
    }

    /// The number of the project that the workload's pool belongs to, out of the audience.
    pub(crate) fn project_number(&self) -> Option<&str> {
        let rest = self.audience.split_once("/projects/")?.1;
        let number = rest.split('/').next()?;
        (!number.is_empty() && number.bytes().all(|it| it.is_ascii_digit())).then_some(number)
    }

    /// The project that a workforce's requests count for.
    pub(crate) fn user_project(&self) -> Option<&str> {
        self.user_project.as_deref()
    }

    /// Where to ask for a project's name: Google's resource manager, or the emulator that the token endpoint is.
    pub(crate) fn resource_manager(&self, universe: &str) -> String {
        let origin = origin_and_path(&self.token_url).map_or(&*self.token_url, |(origin, _)| origin);
        if origin.starts_with("http://") {
            origin.to_owned()
        } else {
            format!("https://cloudresourcemanager.{universe}")
        }
    }
}

/// `//iam.googleapis.com/locations/LOCATION/workforcePools/…`
fn is_workforce(audience: &str) -> bool {
    let mut parts = audience.trim_start_matches('/').split('/').skip(1);
    parts.next() == Some("locations") && parts.nth(1) == Some("workforcePools")
}

/// Gets federated tokens.
pub(crate) struct ExternalAccountSource {
    account: Arc<ExternalAccount>,
    subjects: Arc<dyn SubjectTokenSource>,
    scopes: String,
    quota_project: Option<String>,
    exchange: Arc<dyn Exchange>,
    clock: Arc<dyn Clock>,
}

impl ExternalAccountSource {
    pub(crate) fn new(
        account: Arc<ExternalAccount>,
        subjects: Arc<dyn SubjectTokenSource>,
        scopes: &[String],
        quota_project: Option<String>,
        exchange: Arc<dyn Exchange>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { account, subjects, scopes: joined(scopes, " "), quota_project, exchange, clock }
    }

    async fn fetch_any(&self) -> Result<FetchedToken, AuthError> {
        let account = &self.account;
        let subject = self.subjects.subject_token().await?;
        let mut form = vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("audience", &account.audience),
            ("scope", &self.scopes),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token", subject.expose()),
            ("subject_token_type", &account.subject_token_type),
        ];
        // A client of its own says already which project asks.
        let options = match (&account.user_project, &account.client) {
            (Some(project), None) => Some(json!({"userProject": project}).to_string()),
            _ => None,
        };
        form.extend(options.as_deref().map(|options| ("options", options)));
        let mut request = form_request(&account.token_url, &form)?;
        if let Some((id, secret)) = &account.client {
            request.headers_mut().insert(AUTHORIZATION, basic_authorization(id, secret)?);
        }
        ask(&*self.exchange, &self.clock, request, read_token).await
    }
}

impl fmt::Debug for ExternalAccountSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccountSource")
            .field("audience", &self.account.audience)
            .field("subjects", &self.subjects)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Fetch for ExternalAccountSource {
    async fn fetch(&self) -> Result<FetchedToken, AuthError> {
        self.fetch_any().await.map_err(|error| error.in_stage("identity federation"))
    }

    fn time_max(&self) -> Duration {
        self.subjects.time_max().saturating_add(TOKEN_TOTAL_TIMEOUT)
    }

    fn headers(&self) -> HeaderMap {
        quota_header(self.quota_project.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut Value)) -> Result<ExternalAccount, AuthError> {
        let mut file = json!({
            "audience": "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/p/providers/q",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
        });
        change(&mut file);
        ExternalAccount::from_fields(file.as_object().unwrap(), false)
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        let check = |field: &str, value: Value, words: &str| {
            let error = read(|file| file[field] = value).err().unwrap().to_string();
            assert!(error.contains(words), "{field}: {error}");
        };
        check("audience", json!(""), "field `audience` is missing");
        check(
            "token_url",
            json!("https://evil.example/v1/token"),
            "field `token_url` is not an address of Google's",
        );
        check("workforce_pool_user_project", json!("p"), "`audience` names none");
        for seconds in [json!(599), json!(43_201), json!("3600"), json!(-1)] {
            check(
                "service_account_impersonation",
                json!({"token_lifetime_seconds": seconds}),
                "from 600 to 43200",
            );
        }
    }

    #[test]
    fn the_pools_project_is_in_the_audience() {
        assert_eq!(read(|_| ()).unwrap().project_number(), Some("123"));
        let workforce = "//iam.googleapis.com/locations/global/workforcePools/w/providers/q";
        let account = read(|file| {
            file["audience"] = json!(workforce);
            file["workforce_pool_user_project"] = json!("mine");
        })
        .unwrap();
        assert_eq!((account.project_number(), account.user_project()), (None, Some("mine")));
        assert_eq!(account.resource_manager("googleapis.com"), "https://cloudresourcemanager.googleapis.com");
    }
}
