//! A run from its plan to its report, in memory or in a file that it can go on from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use vertex_chat::transport::Clock;

use crate::journal::{Journal, JournalError, Line, Past};
use crate::plan::Plan;
use crate::record::{EndLine, ResultLine, SessionLine};
use crate::report::Report;
use crate::run::{Session, Told, count};
use crate::summary::Summary;

/// This program, for the heads of runs and reports.
pub(crate) const PROGRAM: &str = concat!("vertex-chat ", env!("CARGO_PKG_VERSION"));

/// A run: begun, or to go on where an earlier one was interrupted.
///
/// # Cancel safety
///
/// Dropping the future of [`run`](Self::run) gives up the requests that run. What has ended is in the file; the rest is asked
/// when the run goes on.
pub struct Comparison {
    plan: Arc<Plan>,
    clock: Arc<dyn Clock>,
    journal: Option<Journal>,
    past: Option<Past>,
    summary: Summary,
    resumed: u64,
}

impl fmt::Debug for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Comparison").field("resumed", &self.resumed).finish_non_exhaustive()
    }
}

impl Comparison {
    /// A run that is kept in memory only.
    #[must_use]
    pub fn new(plan: Plan, clock: Arc<dyn Clock>) -> Self {
        let past = Past::of_size(plan.size());
        let (plan, summary) = (Arc::new(plan), Summary::new());
        Self { plan, clock, journal: None, past: Some(past), summary, resumed: 0 }
    }

    /// A run in a file: a new one, or one that the same plan has begun there and that goes on.
    ///
    /// # Errors
    /// When the file cannot be had, is another plan's, or is being written by somebody else.
    pub fn in_file(mut plan: Plan, clock: Arc<dyn Clock>, path: &Path) -> Result<Self, JournalError> {
        let mut summary = Summary::new();
        let (journal, past) = Journal::open(path, &plan, |line| summary.add(line))?;
        match past.sessions {
            0 => summary = Summary::new(),
            _ => plan.adopt_prices(summary.head()),
        }
        let resumed = past.results;
        Ok(Self { plan: Arc::new(plan), clock, journal: Some(journal), past: Some(past), summary, resumed })
    }

    /// What is run.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many requests had come to an end before this session.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// What is known so far.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Asks everything that has not been asked, or until a limit is reached, and gives the reason of the end. `told` gets every
    /// result when it is written, and what is known then.
    ///
    /// # Errors
    /// When a line cannot be written; then nothing more is asked.
    ///
    /// # Panics
    /// When it is called twice.
    pub async fn run(
        &mut self,
        mut told: impl FnMut(&ResultLine, &Summary),
    ) -> Result<&'static str, JournalError> {
        let past = self.past.take().expect("because a comparison is run once");
        if past.sessions > 0 && past.results == self.plan.size() {
            return Ok("complete");
        }
        let is_new = past.sessions == 0;
        let session =
            Session::new(Arc::clone(&self.plan), Arc::clone(&self.clock), past, self.summary.spent());
        let started = rfc3339(self.clock.wall());
        let Self { journal, summary, plan, .. } = self;
        let mut write = |line: &Line, summary: &mut Summary| -> Result<(), JournalError> {
            if let Some(journal) = journal {
                journal.write(line)?;
            }
            summary.add(line);
            Ok(())
        };
        if is_new {
            for line in plan.begin(&started) {
                write(&line, summary)?;
            }
        }
        let line = SessionLine { session: session.number(), started, program: PROGRAM.to_owned() };
        write(&Line::Session(line), summary)?;
        let breaks = plan.settings().breaks;
        let summary = std::cell::RefCell::new(summary);
        let reason = session
            .run(
                |event| {
                    let mut summary = summary.borrow_mut();
                    let line = match event {
                        Told::Result(result) => Line::Result(result),
                        Told::Stop(stop) => Line::Stop(stop),
                    };
                    write(&line, &mut summary)?;
                    if let Line::Result(result) = &line {
                        told(result, &summary);
                    }
                    Ok(())
                },
                |stage, label| summary.borrow().broken(label, stage, &breaks),
            )
            .await?;
        let end = EndLine { reason: reason.to_owned(), ended: rfc3339(self.clock.wall()) };
        write(&Line::End(end), &mut summary.borrow_mut())?;
        Ok(reason)
    }

    /// The report of what is known.
    #[must_use]
    pub fn report(&self, name: &str) -> Report {
        self.summary.report(name, &rfc3339(self.clock.wall()))
    }
}

/// What others than this program have asked, such as a batch job.
#[derive(Clone, Debug, Default)]
pub struct Imports {
    /// The answers, in any order.
    pub results: Vec<ResultLine>,
    /// How many requests of the plan have none.
    pub missing: u64,
}

impl Plan {
    /// Writes a run's file of answers that others have brought: counted, priced, checked and scored as one's own, but without
    /// times.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn import(&self, imports: Imports, now: SystemTime, path: &Path) -> Result<(), JournalError> {
        let (mut journal, _) = Journal::open(path, self, |_| {})?;
        let now = rfc3339(now);
        self.begin(&now).try_for_each(|it| journal.write(&it))?;
        let line = SessionLine { session: 1, started: now.clone(), program: PROGRAM.to_owned() };
        journal.write(&Line::Session(line))?;
        for mut result in imports.results {
            if result.request < self.size() {
                self.complete(&mut result);
                journal.write(&Line::Result(Box::new(result)))?;
            }
        }
        let reason = match imports.missing {
            0 => "complete".to_owned(),
            missing => format!("{missing} requests have no answer"),
        };
        journal.write(&Line::End(EndLine { reason, ended: now }))
    }

    /// The lines with which a run's file begins.
    fn begin(&self, started: &str) -> impl Iterator<Item = Line> {
        let mut head = self.line();
        started.clone_into(&mut head.started);
        PROGRAM.clone_into(&mut head.program);
        head.machine = machine();
        let prompts = self.prompt_lines().map(|it| Line::Prompt(Box::new(it)));
        std::iter::once(Line::Run(Box::new(head))).chain(prompts)
    }

    /// Says of an answer that came from elsewhere what is said of every answer.
    fn complete(&self, result: &mut ResultLine) {
        let place = self.place(result.request);
        let target = &self.targets()[place.target];
        target.label().clone_into(&mut result.target);
        result.prompt = place.prompt as u64;
        result.repeat = place.repeat;
        result.stage = place.stage as u64;
        result.session = 1;
        // Nothing was sent by this program, and there are no times.
        result.attempts = 0;
        count(target, result);
        if result.error.is_none() {
            self.check(place.prompt, result);
        }
    }
}

/// A time of day by RFC 3339, in whole seconds.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let timestamp = i64::try_from(seconds).ok().and_then(|it| Timestamp::from_second(it).ok());
    timestamp.map_or_else(String::new, |it| it.to_string())
}

fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{} {}, {processors} processors", std::env::consts::OS, std::env::consts::ARCH)
}
