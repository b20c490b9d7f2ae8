//! From the fields of a credential file to where its tokens come from.

use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;
use serde_json::{Map, Value};
use vertex_chat_transport::{Exchange, Profile};

use crate::aws::AwsSubject;
use crate::certificate::{CertificateExchange, CertificateFiles};
use crate::discover::{Discovery, ResourceManager};
use crate::executable::{ExecutableSubject, command_files};
use crate::external::{ExternalAccount, ExternalAccountSource};
use crate::file::{Fields, FileFields, fields_of, other_object};
use crate::impersonation::account_of;
use crate::subject::{FileSubject, Format, UrlSubject};
use crate::{
    AuthError, AuthorizedUser, AuthorizedUserSource, CLOUD_PLATFORM_SCOPE, Cached, CredentialsKind,
    CredentialsOptions, DEFAULT_UNIVERSE, Fetch, ImpersonatedSource, ServiceAccountKey, ServiceAccountSource,
    SubjectTokenSource, TokenForm,
};

/// The scope that is needed to act as a service account, and no more.
const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";
/// How deep impersonation stands in impersonation.
const DEPTH_MAX: u32 = 4;
/// The kinds of credential files that are understood.
const TYPES: [&str; 5] = [
    "service_account",
    "authorized_user",
    "impersonated_service_account",
    "external_account",
    "external_account_authorized_user",
];

/// Where subject tokens come from, and over which connections they are exchanged.
type Federation = (Arc<dyn SubjectTokenSource>, Arc<dyn Exchange>);

/// What was found in a credential file.
pub(crate) struct Found {
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) kind: CredentialsKind,
    pub(crate) account: Option<String>,
    pub(crate) project_id: Option<String>,
    pub(crate) quota_project_id: Option<String>,
    pub(crate) universe_domain: String,
    pub(crate) discovery: Discovery,
    /// The files that decide who they are.
    pub(crate) files: Vec<PathBuf>,
}

impl Found {
    /// Nothing but where tokens come from.
    pub(crate) fn new(fetch: Arc<dyn Fetch>, kind: CredentialsKind) -> Self {
        Self {
            fetch,
            kind,
            account: None,
            project_id: None,
            quota_project_id: None,
            universe_domain: DEFAULT_UNIVERSE.to_owned(),
            discovery: Discovery::Nobody,
            files: Vec::new(),
        }
    }
}

impl CredentialsOptions {
    /// What a credential file says.
    pub(crate) fn found_in(&self, json: &[u8], origin: &str) -> Result<Found, AuthError> {
        let found = fields_of(json).and_then(|fields| {
            let kind = kind_of(&fields)?;
            if self.subject.is_some() && kind != "service_account" {
                let message =
                    format!("credentials of type `{kind}` cannot act for somebody else (`subject`)");
                return Err(AuthError::configuration(message).with_remedy("use a service account's key"));
            }
            self.found(fields, self.scopes.as_deref(), 0)
        });
        found.map_err(|error| error.in_stage(origin))
    }

    fn found(&self, fields: FileFields, scopes: Option<&[String]>, depth: u32) -> Result<Found, AuthError> {
        let kind = kind_of(&fields)?;
        // A key of its own universe signs for that universe and sends nothing of anybody else's there.
        if kind != "service_account" {
            self.must_be_meant(fields.universe())?;
        }
        match kind {
            "service_account" => self.service_account(fields, scopes),
            "authorized_user" => self.login(&fields, CredentialsKind::AuthorizedUser),
            "external_account_authorized_user" => {
                self.login(&fields, CredentialsKind::ExternalAccountAuthorizedUser)
            }
            "impersonated_service_account" => self.impersonated(fields, scopes, depth),
            "external_account" => self.external(&fields, scopes),
            other => Err(unsupported(other)),
        }
    }

    fn service_account(&self, fields: FileFields, scopes: Option<&[String]>) -> Result<Found, AuthError> {
        let key = ServiceAccountKey::from_fields(fields, self.trust_urls)?;
        let (account, project_id) =
            (Some(key.client_email().to_owned()), key.project_id().map(str::to_owned));
        let universe_domain = key.universe_domain().to_owned();
        let quota_project_id = self.quota_project_or(key.quota_project_id());
        let (form, exchange, clock) = (self.token_form.clone(), self.public()?, Arc::clone(&self.clock));
        let mut source = ServiceAccountSource::new(key, form, &wanted(scopes), exchange, clock);
        if let Some(subject) = &self.subject {
            source = source.with_subject(subject)?;
        }
        let source = source.with_quota_project(quota_project_id.clone());
        let found = Found::new(Arc::new(source), CredentialsKind::ServiceAccount);
        Ok(Found { account, project_id, quota_project_id, universe_domain, ..found })
    }

    fn login(&self, fields: &Map<String, Value>, kind: CredentialsKind) -> Result<Found, AuthError> {
        let user = AuthorizedUser::from_fields(fields, self.trust_urls)?;
        let account = user.account().map(str::to_owned);
        let quota_project_id = self.quota_project_or(user.quota_project_id());
        let universe_domain = user.universe_domain().to_owned();
        let mut source = AuthorizedUserSource::new(user, self.public()?, Arc::clone(&self.clock))
            .with_quota_project(quota_project_id.clone());
        if let Some(scopes) = &self.scopes {
            source = source.with_scopes(scopes);
        }
        Ok(Found { account, quota_project_id, universe_domain, ..Found::new(Arc::new(source), kind) })
    }

    fn impersonated(
        &self,
        mut fields: FileFields,
        scopes: Option<&[String]>,
        depth: u32,
    ) -> Result<Found, AuthError> {
        let url = fields.must("service_account_impersonation_url")?;
        let universe_domain = fields.universe().to_owned();
        let (origin, email) = account_of(url, &universe_domain, self.trust_urls)?;
        let delegates = match fields.get("delegates") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(delegates)) if delegates.iter().all(Value::is_string) => {
                delegates.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(_) => return Err(AuthError::configuration("field `delegates` is not a list of accounts")),
        };
        let quota_project_id = self.quota_project_or(fields.text("quota_project_id"));
        let Some(Value::Object(inner)) = fields.remove("source_credentials") else {
            return Err(AuthError::configuration("field `source_credentials` is missing, or no object"));
        };
        if depth == DEPTH_MAX {
            let message = format!("`source_credentials` stand in each other more than {DEPTH_MAX} deep");
            return Err(AuthError::configuration(message).with_remedy("use `delegates`"));
        }
        // A login has the scopes that it was made with; everybody else asks for no more than is needed.
        let inner = without_scopes(self)
            .found(FileFields(inner), Some(&[IAM_SCOPE.to_owned()]), depth + 1)
            .map_err(|error| error.in_stage("`source_credentials`"))?;
        if inner.universe_domain != universe_domain {
            let message = format!(
                "the account is in the universe {universe_domain}, `source_credentials` are in {}",
                inner.universe_domain
            );
            return Err(AuthError::configuration(message));
        }
        let source = self
            .acting_as(inner.fetch, &origin, &email, self.public()?)?
            .with_delegates(delegates)
            .with_scopes(wanted(scopes))
            .with_quota_project(quota_project_id.clone());
        let found = Found::new(Arc::new(source), CredentialsKind::ImpersonatedServiceAccount);
        Ok(Found { account: Some(email), quota_project_id, universe_domain, files: inner.files, ..found })
    }

    fn external(&self, fields: &Map<String, Value>, scopes: Option<&[String]>) -> Result<Found, AuthError> {
        let account = Arc::new(ExternalAccount::from_fields(fields, self.trust_urls)?);
        let universe_domain = fields.universe().to_owned();
        let target = fields
            .text("service_account_impersonation_url")
            .map(|url| account_of(url, &universe_domain, self.trust_urls))
            .transpose()?;
        let email = target.as_ref().map(|(_, email)| email.clone());
        let (subjects, exchange) = match &self.subject_tokens {
            Some(subjects) => (Arc::clone(subjects), self.public()?),
            None => self.subjects(fields, &account, email.as_deref())?,
        };
        let quota_project_id = self.quota_project_or(fields.text("quota_project_id"));
        let scopes = wanted(scopes);
        let own_scopes = if target.is_some() { vec![IAM_SCOPE.to_owned()] } else { scopes.clone() };
        let federated = ExternalAccountSource::new(
            Arc::clone(&account),
            subjects,
            &own_scopes,
            quota_project_id.clone(),
            Arc::clone(&exchange),
            Arc::clone(&self.clock),
        );
        let fetch: Arc<dyn Fetch> = match target {
            None => Arc::new(federated),
            Some((origin, email)) => {
                let mut source = self
                    .acting_as(Arc::new(federated), &origin, &email, Arc::clone(&exchange))?
                    .with_scopes(scopes)
                    .with_quota_project(quota_project_id.clone());
                if let Some(life) = account.life {
                    source = source.with_life(life)?;
                }
                Arc::new(source)
            }
        };
        let discovery = match account.project_number() {
            None => Discovery::Nobody,
            Some(number) => Discovery::ResourceManager(ResourceManager {
                origin: account.resource_manager(&universe_domain),
                number: number.to_owned(),
                exchange: self.public()?,
                clock: Arc::clone(&self.clock),
            }),
        };
        let project_id = account.user_project().map(str::to_owned);
        let found = Found::new(fetch, CredentialsKind::ExternalAccount);
        let files = files_of(fields);
        Ok(Found { account: email, project_id, quota_project_id, universe_domain, discovery, files, ..found })
    }

    /// Where `credential_source` takes subject tokens from, and over which connections they are exchanged.
    fn subjects(
        &self,
        fields: &Map<String, Value>,
        account: &ExternalAccount,
        email: Option<&str>,
    ) -> Result<Federation, AuthError> {
        let Some(source) = fields.get("credential_source").and_then(Value::as_object) else {
            return Err(AuthError::configuration("field `credential_source` is missing")
                .with_remedy("make the file with `gcloud iam workload-identity-pools create-cred-config`"));
        };
        let object = |name: &str| source.get(name).and_then(Value::as_object);
        let named: Vec<&str> = ["environment_id", "file", "url", "executable", "certificate"]
            .into_iter()
            .filter(|name| source.get(*name).is_some_and(|it| !it.is_null()))
            .collect();
        let subjects: Arc<dyn SubjectTokenSource> = match named.as_slice() {
            // AWS has a `url` too.
            ["environment_id", ..] => Arc::new(AwsSubject::new(
                source,
                &account.audience,
                self.trust_urls,
                self.environment.clone(),
                self.connector.connect(&Profile::NoProxy).map_err(AuthError::from_transport)?,
                Arc::clone(&self.clock),
            )?),
            ["file"] => {
                Arc::new(FileSubject { path: source.must("file")?.into(), format: Format::of(source)? })
            }
            ["url"] => {
                let not_a_url =
                    || AuthError::configuration("`credential_source.url` is not a URL with http or https");
                let url = source.must("url")?.parse::<Uri>().map_err(|_| not_a_url())?;
                if url.authority().is_some_and(|it| it.as_str().contains('@')) {
                    let message = "`credential_source.url` has a user name in it";
                    return Err(
                        AuthError::configuration(message).with_remedy("use `credential_source.headers`")
                    );
                }
                // A proxy takes no plain http, and nothing that is for this machine or its neighbours.
                let profile = match url.scheme_str() {
                    Some("https") => Profile::Public,
                    Some("http") => Profile::NoProxy,
                    _ => return Err(not_a_url()),
                };
                Arc::new(UrlSubject {
                    url,
                    headers: UrlSubject::headers_of(source)?,
                    format: Format::of(source)?,
                    exchange: self.connector.connect(&profile).map_err(AuthError::from_transport)?,
                    clock: Arc::clone(&self.clock),
                })
            }
            ["executable"] => Arc::new(ExecutableSubject::new(
                object("executable")
                    .ok_or_else(|| AuthError::configuration("`credential_source.executable` is no object"))?,
                &account.audience,
                &account.subject_token_type,
                email,
                &self.environment,
                Arc::clone(&self.clock),
            )?),
            ["certificate"] => {
                let certificate = object("certificate").ok_or_else(|| {
                    AuthError::configuration("`credential_source.certificate` is no object")
                })?;
                let files = CertificateFiles::find(certificate, &self.environment, self.gcloud_folder())?;
                let (connector, clock) = (Arc::clone(&self.connector), Arc::clone(&self.clock));
                let exchange = CertificateExchange::new(files.clone(), connector, clock);
                return Ok((Arc::new(files), Arc::new(exchange)));
            }
            [] => {
                return Err(AuthError::configuration(
                    "`credential_source` has none of `file`, `url`, `environment_id`, `executable` and `certificate`",
                ));
            }
            many => {
                let message = format!(
                    "`credential_source` has several sources, which exclude each other: {}",
                    many.join(", ")
                );
                return Err(AuthError::configuration(message));
            }
        };
        Ok((subjects, self.public()?))
    }

    /// Tokens of an account, for whoever these tokens belong to.
    fn acting_as(
        &self,
        fetch: Arc<dyn Fetch>,
        origin: &str,
        email: &str,
        exchange: Arc<dyn Exchange>,
    ) -> Result<ImpersonatedSource, AuthError> {
        let time_max = fetch.time_max();
        let source = Arc::new(Cached::new(fetch, Arc::clone(&self.clock)));
        Ok(ImpersonatedSource::at(source, origin, email, exchange, Arc::clone(&self.clock))?.after(time_max))
    }

    /// Refuses a universe that nobody but the file names: its addresses would be sent whatever this machine can show.
    fn must_be_meant(&self, universe: &str) -> Result<(), AuthError> {
        if universe == DEFAULT_UNIVERSE || self.trust_urls || self.universe.as_deref() == Some(universe) {
            return Ok(());
        }
        let message = "field `universe_domain` names another universe than googleapis.com";
        Err(AuthError::configuration(message).with_remedy(
            "take a file of googleapis.com; if the universe is yours, name it where the file is read (in Rust by \
             `with_universe_domain`; the program has no option for it)",
        ))
    }

    fn public(&self) -> Result<Arc<dyn Exchange>, AuthError> {
        self.connector.connect(&Profile::Public).map_err(AuthError::from_transport)
    }

    fn quota_project_or(&self, of_file: Option<&str>) -> Option<String> {
        self.chosen_quota_project().or_else(|| of_file.map(str::to_owned))
    }
}

/// The files that decide what the subject token is: the file that has it, a certificate's, or a program and what it is given
/// to run.
fn files_of(fields: &Map<String, Value>) -> Vec<PathBuf> {
    let Some(source) = fields.get("credential_source").and_then(Value::as_object) else { return Vec::new() };
    let inner = |key: &str| source.get(key).and_then(Value::as_object);
    let file = source.text("file").map(PathBuf::from);
    let certificate =
        inner("certificate").and_then(|it| it.text("certificate_config_location")).map(PathBuf::from);
    let command = inner("executable").and_then(|it| it.text("command"));
    let words = command.map(command_files).unwrap_or_default();
    file.into_iter().chain(certificate).chain(words).collect()
}

/// The same options for credentials that only act as others.
fn without_scopes(options: &CredentialsOptions) -> CredentialsOptions {
    CredentialsOptions { scopes: None, subject: None, token_form: TokenForm::default(), ..options.clone() }
}

fn wanted(scopes: Option<&[String]>) -> Vec<String> {
    scopes.map_or_else(|| vec![CLOUD_PLATFORM_SCOPE.to_owned()], <[String]>::to_vec)
}

/// The `type` of a credential file: read before anything else, so that the error for another kind names it instead of a
/// field that it need not have.
fn kind_of(fields: &Map<String, Value>) -> Result<&str, AuthError> {
    fields.must("type").map_err(|error| match other_object(fields) {
        Some((what, remedy)) => AuthError::configuration(what).with_remedy(remedy),
        None => error.with_remedy("this is not a credential file"),
    })
}

fn unsupported(kind: &str) -> AuthError {
    const SHOWN_MAX: usize = 64;
    let kind: String = kind.chars().take(SHOWN_MAX).collect();
    let message = match kind.as_str() {
        "gdch_service_account" => {
            "credentials of type `gdch_service_account` are for Google Distributed Cloud, where there is no Vertex".to_owned()
        }
        kind => format!("`{kind}` is no known type of credentials"),
    };
    AuthError::configuration(message).with_remedy(format!(
        "known are {}; or give an access token",
        TYPES.map(|it| format!("`{it}`")).join(", ")
    ))
}
