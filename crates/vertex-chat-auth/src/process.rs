//! Running another program: for so long, for so many bytes, and never longer than somebody waits.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use vertex_chat_transport::{Clock, within};

use crate::{AuthError, AuthErrorKind};

/// The most that another program may write.
pub(crate) const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// What became of a program.
pub(crate) struct Finished {
    /// The exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) output: Vec<u8>,
}

/// Runs a program without input, and gives what it wrote on its standard output. When the time is over, or nobody waits
/// any more, it is killed with everything that it started.
pub(crate) async fn run(
    program: &str,
    arguments: &[String],
    variables: &[(&str, &str)],
    limit: Duration,
    clock: &Arc<dyn Clock>,
) -> Result<Finished, AuthError> {
    let cannot = |what: &str| AuthError::configuration(format!("the program {program} {what}"));
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().copied());
    // Its words are for people; what a program says of its failure here may hold secrets.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let child = command.spawn().map_err(|error| cannot(&format!("cannot be started: {error}")))?;
    let mut group = Group { child, is_over: false };
    let run = async {
        let mut output = Vec::new();
        let stdout = group.child.stdout.take().expect("because it is piped");
        let most = u64::try_from(OUTPUT_BYTES_MAX).unwrap_or(u64::MAX) + 1;
        // To its end first: a child that was not waited for keeps its number, so nobody else is killed by it.
        stdout.take(most).read_to_end(&mut output).await?;
        if output.len() > OUTPUT_BYTES_MAX {
            return Ok(None);
        }
        let status = group.child.wait().await?;
        group.is_over = true;
        std::io::Result::Ok(Some(Finished { code: status.code(), output }))
    };
    let seconds = limit.as_secs_f64();
    match within(clock, limit, run).await {
        Some(Ok(Some(finished))) => Ok(finished),
        Some(Ok(None)) => Err(cannot(&format!("wrote more than {OUTPUT_BYTES_MAX} bytes"))),
        Some(Err(error)) => Err(cannot(&format!("cannot be read: {error}"))),
        None => {
            let message = format!("the program {program} took longer than {seconds} s and was ended");
            Err(AuthError::new(AuthErrorKind::Unavailable, message))
        }
    }
}

/// A program and everything that it started; killed when it is dropped too early.
struct Group {
    child: Child,
    is_over: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if !self.is_over {
            let group = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
            if let Some(group) = group {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
        }
    }
}
