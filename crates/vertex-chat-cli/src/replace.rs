//! Which files the program may write over: only those that it has written itself.

use std::io::Read;
use std::path::Path;

use vertex_chat::auth::shown_path;

use crate::Failure;

/// How much of a file is looked at, in bytes.
const HEAD_BYTES: u64 = 4 << 10;

/// What the program writes to files that a user names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Output {
    /// A comparison's page.
    Html,
    /// A batch job's requests.
    Batch,
    /// A report of the conformance suite, in its three forms.
    Json,
    Junit,
    Markdown,
}

impl Output {
    /// What it is called.
    fn name(self) -> &'static str {
        match self {
            Self::Html => "report of a comparison",
            Self::Batch => "batch file",
            Self::Json | Self::Junit | Self::Markdown => "report of the conformance suite",
        }
    }

    /// What such a file has near its beginning.
    fn mark(self) -> &'static str {
        match self {
            Self::Html => "<meta name=\"generator\" content=\"vertex-chat compare",
            Self::Batch => "{\"custom_id\":\"vertex-chat-",
            Self::Json => "\"format\": \"vertex-chat-conformance/",
            Self::Junit => "<testsuites name=\"conformance\"",
            Self::Markdown => "# Conformance of ",
        }
    }

    /// Whether a file may be written at this path: there is none, or an empty one, or an earlier one of this kind, or
    /// something that is no file, such as a pipe.
    ///
    /// # Errors
    /// With what to do, when another file would be lost.
    pub(crate) fn check(self, path: &Path) -> Result<(), Failure> {
        if !path.metadata().is_ok_and(|it| it.is_file() && it.len() > 0) {
            return Ok(());
        }
        let cannot = |what: String| Failure::Usage(format!("{}: {what}", shown_path(path)));
        let file = std::fs::File::open(path).map_err(|error| cannot(error.to_string()))?;
        let mut head = Vec::new();
        file.take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| cannot(error.to_string()))?;
        if String::from_utf8_lossy(&head).contains(self.mark()) {
            return Ok(());
        }
        Err(cannot(format!("there is a file that is no {}; it is left alone; name another one", self.name())))
    }
}
