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

    /// What such a file begins with: these pieces one after the other, with what is said in between.
    fn is_begun_by(self, head: &str) -> bool {
        /// What follows the piece, and at most so much before it.
        fn after<'a>(head: &'a str, piece: &str, before_max: usize) -> Option<&'a str> {
            let at = head.find(piece).filter(|at| *at <= before_max)?;
            Some(&head[at + piece.len()..])
        }
        match self {
            Self::Html => after(head, "<!DOCTYPE html>", 0)
                .and_then(|it| after(it, "<meta name=\"generator\" content=\"vertex-chat compare", 100)),
            Self::Batch => after(head, "{\"custom_id\":\"vertex-chat-", 0),
            Self::Json => after(head, "{", 0)
                .and_then(|it| after(it.trim_start(), "\"format\": \"vertex-chat-conformance/", 0)),
            Self::Junit => {
                after(head, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"conformance\"", 0)
            }
            Self::Markdown => after(head, "![conformance ", 0)
                .and_then(|it| it.split_once('\n'))
                .and_then(|(_, rest)| after(rest.trim_start(), "# Conformance of ", 0)),
        }
        .is_some()
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
        if self.is_begun_by(&String::from_utf8_lossy(&head)) {
            return Ok(());
        }
        Err(cannot(format!("there is a file that is no {}; it is left alone; name another one", self.name())))
    }
}
