//! Kinds of servers, and what to do with what they do not take.

use std::fmt;
use std::str::FromStr;

/// A kind of server, by which parameters it takes and how it treats the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Gemini up to 2.x behind Vertex's endpoint `openapi`.
    VertexGemini2,
    /// Gemini 3 and newer behind Vertex's endpoint `openapi`.
    VertexGemini3,
    /// Gemini behind the Developer API (AI Studio), which refuses what it does not know.
    GeminiDeveloper,
    /// Other publishers' models behind Vertex's endpoint `openapi`; what they take varies by model.
    VertexPartner,
    /// A vLLM container, which is what Model Garden deploys most.
    Vllm,
    /// A Hugging Face TGI container.
    Tgi,
    /// OpenAI itself, and servers that follow it closely.
    OpenAi,
}

impl Dialect {
    /// All of them, in the order of the table's columns.
    pub const ALL: [Self; 7] = [
        Self::VertexGemini2,
        Self::VertexGemini3,
        Self::GeminiDeveloper,
        Self::VertexPartner,
        Self::Vllm,
        Self::Tgi,
        Self::OpenAi,
    ];

    /// The dialect behind Vertex's endpoint `openapi` for a model, by its name. A Gemini name of no known generation
    /// counts as the newest; so does no name, which the service refuses in its own words.
    #[must_use]
    pub fn of_vertex_model(model: Option<&str>) -> Self {
        let name = match model.unwrap_or_default().split_once('/') {
            Some(("google", name)) => name,
            Some(_) => return Self::VertexPartner,
            None => model.unwrap_or_default(),
        };
        Self::of_gemini(name)
    }

    fn of_gemini(name: &str) -> Self {
        let generation = name.strip_prefix("gemini-").unwrap_or_default();
        let digits = generation.find(|it: char| !it.is_ascii_digit()).unwrap_or(generation.len());
        match generation[..digits].parse::<u32>() {
            Ok(0..=2) => Self::VertexGemini2,
            _ => Self::VertexGemini3,
        }
    }

    /// Whether Gemini on Vertex is behind it.
    #[must_use]
    pub fn is_vertex_gemini(self) -> bool {
        matches!(self, Self::VertexGemini2 | Self::VertexGemini3)
    }

    /// Whether Vertex's endpoint `openapi` is behind it, with Gemini or with a partner's model.
    #[must_use]
    pub fn is_vertex(self) -> bool {
        self.is_vertex_gemini() || self == Self::VertexPartner
    }

    /// The name for configuration: `vertex-gemini-2`, `vllm` and so on.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VertexGemini2 => "vertex-gemini-2",
            Self::VertexGemini3 => "vertex-gemini-3",
            Self::GeminiDeveloper => "gemini-developer",
            Self::VertexPartner => "vertex-partner",
            Self::Vllm => "vllm",
            Self::Tgi => "tgi",
            Self::OpenAi => "openai",
        }
    }

    /// What to do by default with what it does not take: for Google's models what the service does, made visible; for
    /// the others nothing.
    #[must_use]
    pub fn default_policy(self) -> Policy {
        match self {
            Self::VertexGemini2 | Self::VertexGemini3 | Self::GeminiDeveloper => Policy::Drop,
            Self::VertexPartner | Self::Vllm | Self::Tgi | Self::OpenAi => Policy::Forward,
        }
    }

    /// Where it is known from what it takes and what it does with the rest.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::VertexGemini2 | Self::VertexGemini3 | Self::VertexPartner => {
                "Vertex AI: OpenAI compatibility, supported parameters"
            }
            Self::GeminiDeveloper => "Gemini Developer API: `Unknown name … Cannot find field`",
            Self::Vllm => "vLLM: OpenAI-compatible server, parameters",
            Self::Tgi => "TGI: router/src/lib.rs",
            Self::OpenAi => "OpenAI: Chat Completions reference",
        }
    }

    pub(crate) fn column(self) -> usize {
        self as usize
    }
}

/// For people: `Gemini 2 on Vertex`.
impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::VertexGemini2 => "Gemini 2 on Vertex",
            Self::VertexGemini3 => "Gemini 3 on Vertex",
            Self::GeminiDeveloper => "the Gemini Developer API",
            Self::VertexPartner => "a partner model on Vertex",
            Self::Vllm => "vLLM",
            Self::Tgi => "TGI",
            Self::OpenAi => "OpenAI",
        })
    }
}

impl FromStr for Dialect {
    type Err = ParseDialectError;
    /// # Errors
    /// When there is no dialect of this [name](Self::name).
    fn from_str(name: &str) -> Result<Self, ParseDialectError> {
        Self::ALL.into_iter().find(|it| it.name() == name).ok_or(ParseDialectError(()))
    }
}

/// A name that no dialect has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseDialectError(());

impl fmt::Display for ParseDialectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Dialect::ALL.map(Dialect::name).join(", ");
        write!(f, "no such dialect; there are {names}")
    }
}

impl std::error::Error for ParseDialectError {}

/// What to do with a parameter that the server does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Send it all the same, and report it.
    Forward,
    /// Leave it out, and report it.
    Drop,
    /// Refuse the request, and name every such parameter.
    Reject,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_tells_the_dialect() {
        let check =
            |model: &str, expected| assert_eq!(Dialect::of_vertex_model(Some(model)), expected, "{model}");
        check("google/gemini-1.5-pro-001", Dialect::VertexGemini2);
        check("google/gemini-2.5-flash", Dialect::VertexGemini2);
        check("google/gemini-3.1-pro-preview", Dialect::VertexGemini3);
        check("google/gemini-3-flash-preview", Dialect::VertexGemini3);
        check("google/gemini-10.0-x", Dialect::VertexGemini3);
        check("google/gemini-flash-latest", Dialect::VertexGemini3);
        check("gemini-2.5-flash", Dialect::VertexGemini2);
        check("google/something-new", Dialect::VertexGemini3);
        check("meta/llama-3.3-70b-instruct-maas", Dialect::VertexPartner);
        check("openai/gpt-oss-120b-maas", Dialect::VertexPartner);
        assert_eq!(Dialect::of_vertex_model(None), Dialect::VertexGemini3);
    }

    #[test]
    fn names_are_read_back() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.name().parse(), Ok(dialect));
        }
        assert!("gemini".parse::<Dialect>().unwrap_err().to_string().contains("vertex-gemini-2"));
    }
}
