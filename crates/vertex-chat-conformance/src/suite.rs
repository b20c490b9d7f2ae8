//! All cases and profiles, and which of them a run is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::case::{Ask, Case, Level, read_exchanges};
use crate::observe::Prepared;
use crate::profile::{Profile, read_capabilities};
use crate::run::{Run, Target};

include!(concat!(env!("OUT_DIR"), "/data.rs"));

/// The largest limit of tokens that is believed: nobody answers at such length because he may.
const NAMED_TOKENS_MAX: u64 = 65_536;
/// The most choices that anybody gives.
const CHOICES_MAX: u64 = 128;
/// Bytes of a request that make about one token.
const BYTES_PER_TOKEN: u64 = 4;
/// The files in the folder of cases and profiles that are neither.
const EXCHANGES: &str = "exchanges.toml";
const CAPABILITIES: &str = "capabilities.toml";

/// Cases and profiles.
#[derive(Clone, Debug)]
pub struct Suite {
    cases: Vec<Arc<Case>>,
    profiles: Vec<Profile>,
    capabilities: BTreeMap<String, String>,
    exchanges: BTreeMap<String, Ask>,
}

/// What is wrong with a suite or a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuiteError(pub(crate) String);

impl fmt::Display for SuiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SuiteError {}

/// Which cases are run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The profile.
    pub profile: String,
    /// What stands behind a gateway: what that does not do, the gateway cannot either.
    pub behind: Option<String>,
    /// The least level; records are always made.
    pub level: Level,
    /// Only these cases, and what they stand on. All when empty.
    pub cases: Vec<String>,
    /// Capabilities that this server does not have, beside those that its profile says.
    pub lacks: Vec<String>,
    /// The limit of tokens for an ordinary answer, in place of the profile's.
    pub limit: Option<u64>,
    /// The most tokens, by the server's count where it gives one and by estimate where not.
    pub budget: Option<u64>,
}

impl Plan {
    /// All cases of this profile, of both levels.
    #[must_use]
    pub fn new(profile: impl Into<String>) -> Self {
        Self {
            profile: profile.into(),
            behind: None,
            level: Level::Strict,
            cases: Vec::new(),
            lacks: Vec::new(),
            limit: None,
            budget: None,
        }
    }

    /// Through a gateway, before this kind of server.
    #[must_use]
    pub fn behind(mut self, profile: impl Into<String>) -> Self {
        self.behind = Some(profile.into());
        self
    }

    /// Only cases of this level and above.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// This case, and what it stands on; and others that are named.
    #[must_use]
    pub fn case(mut self, id: impl Into<String>) -> Self {
        self.cases.push(id.into());
        self
    }

    /// Skips what needs this capability.
    #[must_use]
    pub fn lacks(mut self, capability: impl Into<String>) -> Self {
        self.lacks.push(capability.into());
        self
    }

    /// Asks for ordinary answers of so many tokens at most.
    #[must_use]
    pub fn limit(mut self, tokens: u64) -> Self {
        self.limit = Some(tokens);
        self
    }

    /// Stops before more tokens than these are used.
    #[must_use]
    pub fn budget(mut self, tokens: u64) -> Self {
        self.budget = Some(tokens);
        self
    }
}

/// The cases of a run, in their order.
#[derive(Clone, Debug)]
pub struct Selection {
    pub(crate) cases: Vec<(Arc<Case>, Fate)>,
    pub(crate) profile: String,
    pub(crate) behind: Option<String>,
    pub(crate) level: Level,
    pub(crate) limit: u64,
    pub(crate) budget: Option<u64>,
    model: String,
}

/// Whether a case is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Runs,
    Skipped(String),
}

/// What a run will cost, at most, if nothing is sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Estimate {
    /// Cases that are run.
    pub cases: usize,
    /// Cases that are skipped.
    pub skipped: usize,
    /// Requests. What several cases ask alike is asked once.
    pub requests: u64,
    /// Tokens of prompts and answers.
    pub tokens: u64,
}

fn is_file(path: &str, name: &str) -> bool {
    Path::new(path).file_name().is_some_and(|it| it == name)
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

/// The deepest folder of a suite that is looked into.
const FOLDER_DEPTH_MAX: usize = 4;
/// The most bytes of a file of a suite.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The name and text of a data file, or of all in a folder.
fn read_files(path: &Path) -> Result<Vec<(String, String)>, SuiteError> {
    let wrong = |path: &Path, what: &dyn fmt::Display| SuiteError(format!("{}: {what}", path.display()));
    // The group is the folder's name, also when the file was named without one.
    let path = std::path::absolute(path).map_err(|error| wrong(path, &error))?;
    let mut files = vec![path.clone()];
    if path.is_dir() {
        files.clear();
        collect(&path, 0, &mut files).map_err(|error| wrong(&path, &error))?;
        files.sort();
    }
    let read = |file: PathBuf| {
        let mut text = String::new();
        let opened = std::fs::File::open(&file);
        let read = opened.and_then(|it| it.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        if read.map_err(|error| wrong(&file, &error))? as u64 > FILE_BYTES_MAX {
            return Err(wrong(&file, &format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        Ok((file.display().to_string(), text))
    };
    files.into_iter().map(read).collect()
}

/// The data files below a folder.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && depth < FOLDER_DEPTH_MAX {
            collect(&path, depth + 1, files)?;
        } else if path.extension().is_some_and(|it| it == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

impl Suite {
    /// The suite that comes with this crate.
    ///
    /// # Panics
    /// Never: a test reads all of it.
    #[must_use]
    pub fn bundled() -> Self {
        static SUITE: LazyLock<Suite> = LazyLock::new(|| {
            Suite::parse(CASES, PROFILES).unwrap_or_else(|error| panic!("the suite's own files: {error}"))
        });
        SUITE.clone()
    }

    /// The suite of a folder with `cases` and `profiles` in it, such as this crate's own: to try a case without building.
    ///
    /// # Errors
    /// When it cannot be read, or something is wrong with it.
    pub fn from_folder(folder: &Path) -> Result<Self, SuiteError> {
        let (cases, profiles) = (read_files(&folder.join("cases"))?, read_files(&folder.join("profiles"))?);
        Self::parse(&borrowed(&cases), &borrowed(&profiles))
    }

    /// A suite of files, by name and text.
    fn parse(cases: &[(&str, &str)], profiles: &[(&str, &str)]) -> Result<Self, SuiteError> {
        let mut faults = Vec::new();
        let mut suite = Self {
            cases: Vec::new(),
            profiles: Vec::new(),
            capabilities: BTreeMap::new(),
            exchanges: BTreeMap::new(),
        };
        for (name, text) in profiles {
            let read = match is_file(name, CAPABILITIES) {
                true => read_capabilities(text).map(|it| suite.capabilities = it),
                false => Profile::parse(name, text).map(|it| suite.profiles.push(it)),
            };
            faults.extend(read.err());
        }
        for (_, text) in cases.iter().filter(|(name, _)| is_file(name, EXCHANGES)) {
            match read_exchanges(text) {
                Ok(exchanges) => suite.exchanges = exchanges,
                Err(fault) => faults.push(fault),
            }
        }
        for (name, text) in cases.iter().filter(|(name, _)| !is_file(name, EXCHANGES)) {
            match Case::parse(name, text, &suite.exchanges) {
                Ok(case) => suite.cases.push(Arc::new(case)),
                Err(fault) => faults.push(fault),
            }
        }
        suite.check(&mut faults);
        if faults.is_empty() { Ok(suite) } else { Err(SuiteError(faults.join("\n"))) }
    }

    /// Adds a case of one's own. `name` is its file's path; the folder's name is the group.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), SuiteError> {
        let case = Case::parse(name, text, &self.exchanges).map_err(SuiteError)?;
        self.cases.push(Arc::new(case));
        let mut faults = Vec::new();
        self.check(&mut faults);
        if faults.is_empty() {
            return Ok(());
        }
        self.cases.pop();
        Err(SuiteError(faults.join("\n")))
    }

    /// Adds cases of one's own from a file, or from all files of a folder.
    ///
    /// # Errors
    /// When they cannot be read, or what is wrong with them.
    pub fn add_from(&mut self, path: &Path) -> Result<(), SuiteError> {
        read_files(path)?.iter().try_for_each(|(name, text)| self.add(name, text))
    }

    /// What is wrong between files.
    fn check(&self, faults: &mut Vec<String>) {
        let mut ids = BTreeSet::new();
        let mut rules = BTreeMap::new();
        let mut mutants = BTreeSet::new();
        for case in &self.cases {
            let mut fault = |what: String| faults.push(format!("{}/{}: {what}", case.group, case.id));
            if !ids.insert(&case.id) {
                fault("two cases have this id".to_owned());
            }
            if let Some(other) = rules.insert(&case.rule, &case.id) {
                fault(format!("the case `{other}` has the same rule: {}", case.rule));
            }
            for profile in case.profiles.iter().chain(case.mutants.iter().map(|it| &it.profile)) {
                if profile != "any" && self.profile(profile).is_err() {
                    fault(format!("there is no profile `{profile}`"));
                }
            }
            for unknown in case.needs.iter().chain(&case.without).filter_map(|it| self.no_capability(it)) {
                fault(unknown);
            }
            for mutant in &case.mutants {
                if !mutants.insert(&mutant.name) {
                    fault(format!("another mutant is called `{}`", mutant.name));
                }
            }
        }
        let level_of: BTreeMap<&str, Level> =
            self.cases.iter().map(|case| (case.id.as_str(), case.level)).collect();
        for case in &self.cases {
            // A run of the level interop leaves strict cases out, and could not tell that one failed.
            let lower = |it: &&String| level_of.get(it.as_str()).is_some_and(|level| *level < case.level);
            if let Some(lower) = case.requires.iter().find(lower) {
                faults.push(format!(
                    "{}: it is {} and stands on `{lower}`, which is less",
                    case.id, case.level
                ));
            }
            for required in case.requires.iter().filter(|it| !ids.contains(it)) {
                faults.push(format!("{}: it stands on `{required}`, which is not there", case.id));
            }
        }
        for profile in &self.profiles {
            let named = profile.lacks.iter().map(|it| &it.capability).chain(&profile.gives);
            for unknown in named.filter_map(|it| self.no_capability(it)) {
                faults.push(format!("profile {}: {unknown}", profile.id));
            }
            for included in profile.includes.iter().filter(|it| self.profile(it).is_err()) {
                faults.push(format!("profile {}: there is no profile `{included}`", profile.id));
            }
        }
        if faults.is_empty() && self.ordered().is_none() {
            faults.push("some cases stand on each other in a circle".to_owned());
        }
    }

    /// What is wrong with a word that should be a capability, if it is none.
    fn no_capability(&self, word: &str) -> Option<String> {
        let known = || self.capabilities.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let is_one = self.capabilities.contains_key(word);
        (!is_one).then(|| format!("`{word}` is no capability; there are {}", known()))
    }

    /// All cases, each after those that it stands on, otherwise as their files are sorted; `None` when that cannot be.
    fn ordered(&self) -> Option<Vec<Arc<Case>>> {
        let mut ordered: Vec<Arc<Case>> = Vec::new();
        let mut placed = BTreeSet::new();
        let mut left: Vec<&Arc<Case>> = self.cases.iter().collect();
        while !left.is_empty() {
            let before = left.len();
            left.retain(|case| {
                let ready = case.requires.iter().all(|it| placed.contains(it));
                if ready {
                    placed.insert(case.id.clone());
                    ordered.push(Arc::clone(case));
                }
                !ready
            });
            if left.len() == before {
                return None;
            }
        }
        Some(ordered)
    }

    /// The cases, as their files are sorted.
    #[must_use]
    pub fn cases(&self) -> &[Arc<Case>] {
        &self.cases
    }

    /// The case of this name.
    fn case(&self, id: &str) -> Result<&Arc<Case>, SuiteError> {
        let found = self.cases.iter().find(|it| it.id == id);
        found.ok_or_else(|| SuiteError(format!("there is no case `{id}`; --list shows all")))
    }

    /// The profiles.
    #[must_use]
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// What servers may be able to, and what each word means.
    #[must_use]
    pub fn capabilities(&self) -> &BTreeMap<String, String> {
        &self.capabilities
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// When there is none; the error lists those that there are.
    pub fn profile(&self, id: &str) -> Result<&Profile, SuiteError> {
        let known = || self.profiles.iter().map(|it| it.id.as_str()).collect::<Vec<_>>().join(", ");
        let found = self.profiles.iter().find(|it| it.id == id);
        found.ok_or_else(|| SuiteError(format!("there is no profile `{id}`; there are {}", known())))
    }

    /// The cases that a plan means, for the profile's own model.
    ///
    /// # Errors
    /// When the plan names what is not there.
    pub fn plan(&self, plan: &Plan) -> Result<Selection, SuiteError> {
        let model = self.profile(plan.behind.as_ref().unwrap_or(&plan.profile))?.model.clone();
        self.plan_for(plan, &model)
    }

    /// The cases that a plan means, for a model: what a server can do may depend on it.
    ///
    /// # Errors
    /// When the plan names what is not there.
    pub fn plan_for(&self, plan: &Plan, model: &str) -> Result<Selection, SuiteError> {
        let profile = self.profile(&plan.profile)?;
        let behind = plan.behind.as_ref().map(|it| self.profile(it)).transpose()?;
        if let Some(unknown) = plan.lacks.iter().find_map(|it| self.no_capability(it)) {
            return Err(SuiteError(unknown));
        }
        let mut lacks: BTreeMap<&str, &str> = profile.lacks_with(model).collect();
        if let Some(behind) = behind {
            for (capability, because) in behind.lacks_with(model) {
                if !profile.gives.iter().any(|it| it == capability) {
                    lacks.entry(capability).or_insert(because);
                }
            }
        }
        for capability in &plan.lacks {
            lacks.insert(capability, "it was said that this server does not have it");
        }
        let ids = profile.ids();
        let is_meant =
            |case: &Case| case.applies_to(&ids) && (case.level >= plan.level || case.level == Level::Record);
        for named in &plan.cases {
            if !is_meant(self.case(named)?) {
                let message =
                    format!("`{named}` is no case of the profile {} at the level {}", profile.id, plan.level);
                return Err(SuiteError(message));
            }
        }
        let wanted = self.wanted(&plan.cases);
        let mut cases = self.ordered().unwrap_or_default();
        cases.retain(|case| {
            let is_lacking = case.without.iter().all(|it| lacks.contains_key(it.as_str()));
            is_meant(case) && is_lacking && wanted.as_ref().is_none_or(|it| it.contains(&case.id))
        });
        let mut selection = Selection {
            cases: cases.into_iter().map(|case| (case, Fate::Runs)).collect(),
            profile: profile.id.clone(),
            behind: behind.map(|it| it.id.clone()),
            level: plan.level,
            limit: plan.limit.unwrap_or(behind.unwrap_or(profile).limit),
            budget: plan.budget,
            model: model.to_owned(),
        };
        selection.skip(&lacks);
        Ok(selection)
    }

    /// The named cases and all that they stand on; `None` for all.
    fn wanted(&self, named: &[String]) -> Option<BTreeSet<String>> {
        if named.is_empty() {
            return None;
        }
        let mut wanted = BTreeSet::new();
        let mut open: Vec<&String> = named.iter().collect();
        while let Some(id) = open.pop() {
            if wanted.insert(id.clone()) {
                open.extend(self.case(id).into_iter().flat_map(|it| &it.requires));
            }
        }
        Some(wanted)
    }
}

impl Selection {
    /// What it costs.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        let mut asked = BTreeSet::new();
        let mut estimate = Estimate { cases: 0, skipped: 0, requests: 0, tokens: 0 };
        let variables = self.variables(&self.model);
        for (case, fate) in &self.cases {
            if *fate != Fate::Runs {
                estimate.skipped += 1;
                continue;
            }
            estimate.cases += 1;
            for step in &case.steps {
                // What depends on an earlier answer is not known yet, and is asked anyway.
                let prepared = Prepared::of(&step.ask, "", &variables).ok();
                if step.ask.fresh || prepared.is_none_or(|it| asked.insert(it)) {
                    let times = step.ask.times.unwrap_or(1) as u64;
                    estimate.requests += times;
                    estimate.tokens += self.tokens_of(&step.ask) * times;
                }
            }
        }
        estimate
    }

    /// About how many tokens one request uses: its own, and as many as its answer may have.
    pub(crate) fn tokens_of(&self, ask: &Ask) -> u64 {
        if ask.method != "POST" {
            return 0;
        }
        let text = ask.body.as_deref().or(ask.raw_body.as_deref()).unwrap_or_default();
        let text = text.replace("\"$limit\"", &self.limit.to_string());
        let body = serde_json::from_str::<Value>(&text).unwrap_or_default();
        if body.get("messages").is_none() {
            // Nobody is asked without messages.
            return 0;
        }
        let named = ["max_tokens", "max_completion_tokens"].iter().find_map(|key| body[*key].as_u64());
        let each = named.filter(|it| *it <= NAMED_TOKENS_MAX).unwrap_or(self.limit);
        let answers = body["n"].as_u64().unwrap_or(1).clamp(1, CHOICES_MAX);
        (text.len() + ask.filler) as u64 / BYTES_PER_TOKEN + each * answers
    }

    /// Skips what needs something that is not there, and what stands on a case that is skipped.
    fn skip(&mut self, lacks: &BTreeMap<&str, &str>) {
        for i in 0..self.cases.len() {
            let (case, fate) = &self.cases[i];
            if *fate != Fate::Runs {
                continue;
            }
            let lacked = case
                .needs
                .iter()
                .find_map(|it| lacks.get(it.as_str()).map(|because| format!("{it}: {because}")));
            let skipped = |id: &String| {
                let (_, fate) = self.cases[..i].iter().find(|(other, _)| other.id == *id)?;
                match fate {
                    Fate::Skipped(because) => Some(because.clone()),
                    Fate::Runs => None,
                }
            };
            let below = || case.requires.iter().find_map(skipped);
            if let Some(because) = lacked.or_else(below) {
                self.cases[i].1 = Fate::Skipped(because);
            }
        }
    }

    /// What stands for names in the bodies of requests.
    pub(crate) fn variables(&self, model: &str) -> BTreeMap<String, Value> {
        BTreeMap::from([("model".to_owned(), model.into()), ("limit".to_owned(), self.limit.into())])
    }

    /// Runs it against a server.
    #[must_use]
    pub fn run(mut self, target: Target) -> Run {
        self.skip(&target.lacks());
        Run::new(self, target)
    }

    /// The cases and, of those that are skipped, the reason.
    pub fn cases(&self) -> impl Iterator<Item = (&Arc<Case>, Option<&str>)> {
        self.cases.iter().map(|(case, fate)| match fate {
            Fate::Runs => (case, None),
            Fate::Skipped(because) => (case, Some(because.as_str())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_suite_are_right() {
        let suite = Suite::parse(CASES, PROFILES).unwrap_or_else(|error| panic!("{error}"));
        for profile in &suite.profiles {
            let plan = suite.plan(&Plan::new(&profile.id)).unwrap();
            assert!(plan.estimate().cases > 0, "{}", profile.id);
        }
    }
}
