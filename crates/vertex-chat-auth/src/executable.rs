//! A program as identity: it writes a subject token on its standard output (AIP-4117, executable-sourced credentials).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::{Map, Value};
use vertex_chat_transport::Clock;

use crate::file::Fields;
use crate::off_worker::off_worker;
use crate::process::run;
use crate::subject::read_small;
use crate::{AuthError, AuthErrorKind, Environment, Secret, SubjectTokenSource, shown_path};

/// The variable that has to be exactly `1` before any program is run.
const GATE: &str = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES";
/// How long a program may take: at least, at most, and when the file does not say.
const TIME_MIN: Duration = Duration::from_secs(5);
const TIME_MAX: Duration = Duration::from_secs(120);
const TIME_DEFAULT: Duration = Duration::from_secs(30);
const VERSION: u64 = 1;

/// What an executable says: a token and until when it is good, or why there is none.
///
/// For those who write such a program and want to know that what it says will be understood:
///
/// ```
/// use std::time::SystemTime;
/// use vertex_chat_auth::ExecutableAnswer;
///
/// let said = br#"{"version": 1, "success": true, "id_token": "a.b.c",
///     "token_type": "urn:ietf:params:oauth:token-type:id_token", "expiration_time": 4102444800}"#;
/// let answer = ExecutableAnswer::read(said)?;
/// assert!(!answer.has_expired(SystemTime::now()));
/// # Ok::<(), vertex_chat_auth::AuthError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExecutableAnswer {
    token: Secret,
    expires_at: Option<i64>,
}

impl ExecutableAnswer {
    /// Reads it.
    ///
    /// # Errors
    /// When it is not of the form, and when it says that it has failed.
    pub fn read(json: &[u8]) -> Result<Self, AuthError> {
        let wrong = |what: &str| AuthError::configuration(format!("the executable's answer {what}"));
        let fields: Map<String, Value> =
            serde_json::from_slice(json).map_err(|_| wrong("is not a JSON object"))?;
        let version = fields.get("version").ok_or_else(|| wrong("has no field `version`"))?;
        if version.as_u64() != Some(VERSION) {
            return Err(wrong("has another `version` than 1"));
        }
        match fields.get("success").and_then(Value::as_bool) {
            Some(true) => {}
            Some(false) => {
                let word = |name: &str| {
                    fields.get(name).and_then(|it| {
                        it.as_str().map(str::to_owned).or(it.as_i64().map(|it| it.to_string()))
                    })
                };
                let (Some(code), Some(message)) = (word("code"), word("message")) else {
                    return Err(wrong("says that it failed, without `code` and `message`"));
                };
                let error = AuthError::new(AuthErrorKind::Refused, "the executable says that it failed");
                return Err(error.with_words(&code, &message));
            }
            None => return Err(wrong("has no field `success`")),
        }
        let field = match fields.text("token_type") {
            Some("urn:ietf:params:oauth:token-type:jwt" | "urn:ietf:params:oauth:token-type:id_token") => {
                "id_token"
            }
            Some("urn:ietf:params:oauth:token-type:saml2") => "saml_response",
            Some(_) => return Err(wrong("has a `token_type` that is none of jwt, id_token and saml2")),
            None => return Err(wrong("has no field `token_type`")),
        };
        let token = fields.text(field).ok_or_else(|| wrong(&format!("has no field `{field}`")))?;
        let expires_at = match fields.get("expiration_time") {
            None | Some(Value::Null) => None,
            Some(time) => Some(
                time.as_i64()
                    .ok_or_else(|| wrong("has an `expiration_time` that is not seconds since 1970"))?,
            ),
        };
        Ok(Self { token: token.into(), expires_at })
    }

    /// Whether its time is over. Without one, it never is.
    #[must_use]
    pub fn has_expired(&self, now: SystemTime) -> bool {
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX));
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// Subject tokens from a program.
pub(crate) struct ExecutableSubject {
    program: String,
    arguments: Vec<String>,
    limit: Duration,
    output_file: Option<PathBuf>,
    /// What the program is told about whom it is for.
    variables: Vec<(&'static str, String)>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for ExecutableSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may be secrets.
        f.debug_struct("ExecutableSubject").field("program", &self.program).finish_non_exhaustive()
    }
}

/// The program that a command starts, and the files that it is given by their paths, such as a shell's script.
pub(crate) fn command_files(command: &str) -> Vec<PathBuf> {
    let words = shlex::split(command).unwrap_or_default().into_iter().enumerate();
    words.filter(|(i, word)| *i == 0 || word.starts_with('/')).map(|(_, word)| PathBuf::from(word)).collect()
}

impl ExecutableSubject {
    /// Reads `credential_source.executable`, if programs may be run at all.
    pub(crate) fn new(
        source: &Map<String, Value>,
        audience: &str,
        token_type: &str,
        impersonated_email: Option<&str>,
        environment: &Environment,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthError> {
        if environment.get(GATE).as_deref() != Some("1") {
            let message =
                "the credential file names a program, and programs are not run unless that is allowed";
            return Err(
                AuthError::configuration(message).with_remedy(format!("if you trust it, set {GATE}=1"))
            );
        }
        let wrong = |what: &str| AuthError::configuration(format!("`credential_source.executable.{what}"));
        let command = source.text("command").ok_or_else(|| wrong("command` is missing"))?;
        let mut words = shlex::split(command).ok_or_else(|| wrong("command` has an open quote"))?.into_iter();
        let program = words.next().ok_or_else(|| wrong("command` is empty"))?;
        if !Path::new(&program).is_absolute() {
            return Err(wrong("command` does not begin with the whole path of a program"));
        }
        let limit = match source.get("timeout_millis") {
            None | Some(Value::Null) => TIME_DEFAULT,
            Some(millis) => millis.as_u64().map(Duration::from_millis).unwrap_or_default(),
        };
        if !(TIME_MIN..=TIME_MAX).contains(&limit) {
            return Err(wrong("timeout_millis` is not a whole number from 5000 to 120000"));
        }
        let output_file = source.text("output_file").map(PathBuf::from);
        let mut variables = vec![
            ("GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE", audience.to_owned()),
            ("GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE", token_type.to_owned()),
            ("GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE", "0".to_owned()),
        ];
        variables.extend(
            impersonated_email.map(|it| ("GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL", it.to_owned())),
        );
        if let Some(path) = &output_file {
            variables.push(("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE", path.display().to_string()));
        }
        Ok(Self { program, arguments: words.collect(), limit, output_file, variables, clock })
    }

    /// What an earlier run left, if it is still good.
    async fn left_over(&self) -> Result<Option<Secret>, AuthError> {
        let Some(path) = self.output_file.clone() else { return Ok(None) };
        let now = self.clock.wall();
        off_worker(move || Self::read_left_over(&path, now)).await
    }

    fn read_left_over(path: &Path, now: SystemTime) -> Result<Option<Secret>, AuthError> {
        let named = |error: AuthError| {
            error.in_stage(&format!("{} (`credential_source.executable.output_file`)", shown_path(path)))
        };
        if !path.exists() {
            return Ok(None);
        }
        nobody_else_writes(path).map_err(named)?;
        let bytes = read_small(path).map_err(|what| named(AuthError::configuration(what)))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let answer = match ExecutableAnswer::read(&bytes) {
            Ok(answer) => answer,
            // That it failed then says nothing about now.
            Err(error) if error.kind() == AuthErrorKind::Refused => return Ok(None),
            Err(error) => return Err(named(error)),
        };
        must_say_until_when(&answer).map_err(named)?;
        Ok((!answer.has_expired(now)).then_some(answer.token))
    }
}

#[async_trait]
impl SubjectTokenSource for ExecutableSubject {
    async fn subject_token(&self) -> Result<Secret, AuthError> {
        if let Some(token) = self.left_over().await? {
            return Ok(token);
        }
        let variables: Vec<(&str, &str)> =
            self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let finished = run(&self.program, &self.arguments, &variables, self.limit, &self.clock).await?;
        let answer = ExecutableAnswer::read(&finished.output);
        if finished.code != Some(0) {
            // Its own words, if it has any, say more than a number.
            return Err(match answer {
                Err(error) if error.kind() == AuthErrorKind::Refused => error,
                _ => {
                    let how =
                        finished.code.map_or("by a signal".to_owned(), |code| format!("with code {code}"));
                    let message = format!("the executable {} ended {how}", self.program);
                    AuthError::new(AuthErrorKind::Refused, message)
                }
            });
        }
        let answer = answer?;
        if self.output_file.is_some() {
            must_say_until_when(&answer)?;
        }
        if answer.has_expired(self.clock.wall()) {
            return Err(AuthError::new(
                AuthErrorKind::Unavailable,
                "the executable gave a token that has expired",
            ));
        }
        Ok(answer.token)
    }

    fn time_max(&self) -> Duration {
        self.limit
    }
}

fn must_say_until_when(answer: &ExecutableAnswer) -> Result<(), AuthError> {
    match answer.expires_at {
        Some(_) => Ok(()),
        None => {
            let message =
                "the executable's answer has no `expiration_time`, which it must have with an `output_file`";
            Err(AuthError::configuration(message))
        }
    }
}

/// Whoever can write the file could put somebody else's token there.
#[cfg(unix)]
fn nobody_else_writes(path: &Path) -> Result<(), AuthError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).map_err(|error| AuthError::configuration(error.to_string()))?;
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != own && owner != 0 {
        return Err(AuthError::configuration("belongs to another user"));
    }
    if metadata.mode() & 0o002 != 0 {
        return Err(
            AuthError::configuration("can be written by everybody").with_remedy("take that permission away")
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn nobody_else_writes(_: &Path) -> Result<(), AuthError> {
    Ok(())
}
