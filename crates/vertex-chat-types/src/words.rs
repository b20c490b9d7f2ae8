//! The protocol's vocabularies.

use crate::wire::words;

words! {
    /// Who speaks in a message.
    #[derive(Default)]
    pub enum Role {
        /// Instructions above the conversation.
        System = "system",
        /// Instructions above the conversation, OpenAI's newer word. Not documented for Vertex.
        Developer = "developer",
        /// The person, or the program in their place.
        #[default]
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// The result of a tool call.
        Tool = "tool",
        /// The result of a function call. Deprecated in favour of [`Tool`](Self::Tool).
        Function = "function",
        /// The model, in Google's native word; appears in Google's own samples of this API.
        Model = "model",
    }

    /// Why a model stopped.
    pub enum FinishReason {
        /// At a natural end or at a stop sequence.
        Stop = "stop",
        /// At the token limit. On Gemini the limit counts thinking, so the text may be empty.
        Length = "length",
        /// To have tools called.
        ToolCalls = "tool_calls",
        /// A filter took the rest, or all of it.
        ContentFilter = "content_filter",
        /// To have a function called. Deprecated with `functions`.
        FunctionCall = "function_call",
    }

    /// The processing tier, asked for or used.
    pub enum ServiceTier {
        /// The project's setting.
        Auto = "auto",
        /// Standard.
        Default = "default",
        /// Cheaper and slower.
        Flex = "flex",
        /// Reserved capacity.
        Scale = "scale",
        /// Faster and dearer.
        Priority = "priority",
        /// Fast mode.
        Fast = "fast",
    }

    /// A kind of output.
    pub enum Modality {
        /// Text.
        Text = "text",
        /// Sound.
        Audio = "audio",
        /// Pictures. Google's addition.
        Image = "image",
    }

    /// How long-winded an answer should be.
    pub enum Verbosity {
        /// Concise.
        Low = "low",
        /// Between the two.
        Medium = "medium",
        /// Extensive.
        High = "high",
    }

    /// How much a model should think first.
    ///
    /// Vertex documents low as 1,024 thinking tokens, medium as 8,192 and high as 24,576.
    pub enum ReasoningEffort {
        /// Not at all.
        None = "none",
        /// As little as the model can.
        Minimal = "minimal",
        /// A little.
        Low = "low",
        /// Some.
        Medium = "medium",
        /// A lot.
        High = "high",
        /// More than a lot.
        Xhigh = "xhigh",
        /// All that the model can.
        Max = "max",
    }

    /// How much web text a search may put into the context.
    pub enum SearchContextSize {
        /// Little.
        Low = "low",
        /// Some.
        Medium = "medium",
        /// Much.
        High = "high",
    }

    /// The kind of a place.
    pub enum LocationType {
        /// The only one so far.
        Approximate = "approximate",
    }

    /// A file format for spoken output.
    pub enum AudioOutputFormat {
        /// WAV.
        Wav = "wav",
        /// AAC.
        Aac = "aac",
        /// MP3.
        Mp3 = "mp3",
        /// FLAC.
        Flac = "flac",
        /// Opus.
        Opus = "opus",
        /// Raw 16-bit samples.
        Pcm16 = "pcm16",
    }

    /// A file format of recorded input. Vertex also takes any MIME type here.
    pub enum AudioInputFormat {
        /// WAV.
        Wav = "wav",
        /// MP3.
        Mp3 = "mp3",
    }

    /// How closely a model looks at a picture.
    pub enum ImageDetail {
        /// The model's choice.
        Auto = "auto",
        /// Coarsely.
        Low = "low",
        /// Closely.
        High = "high",
    }

    /// The kind of a content part.
    pub enum PartType {
        /// Text.
        #[doc(alias = "text")]
        Text = "text",
        /// A picture, or on Vertex any media, by address or inline.
        ImageUrl = "image_url",
        /// Recorded sound.
        InputAudio = "input_audio",
        /// A file.
        File = "file",
        /// A film. Not OpenAI's.
        VideoUrl = "video_url",
        /// A model's refusal.
        Refusal = "refusal",
    }

    /// The kind of a tool or of a call to one.
    pub enum ToolType {
        /// A function with JSON arguments; the only kind that Vertex documents.
        Function = "function",
        /// A tool with free text as input.
        Custom = "custom",
    }

    /// The grammar language of a custom tool.
    pub enum GrammarSyntax {
        /// Lark.
        Lark = "lark",
        /// A regular expression.
        Regex = "regex",
    }

    /// The kind of a custom tool's input format.
    pub enum CustomFormatType {
        /// Any text.
        Text = "text",
        /// Text of a grammar.
        Grammar = "grammar",
    }

    /// Whether a model may, must or must not call tools.
    pub enum ToolMode {
        /// It must not.
        None = "none",
        /// It may.
        Auto = "auto",
        /// It must.
        Required = "required",
        /// It may, and what it calls fits the schema. Google's addition.
        Validated = "validated",
    }

    /// The kind of an object in `tool_choice`.
    pub enum ToolChoiceType {
        /// One function.
        Function = "function",
        /// One custom tool.
        Custom = "custom",
        /// A selection.
        AllowedTools = "allowed_tools",
    }

    /// The form of the answer's text. Vertex passes any other word on as a MIME type.
    pub enum ResponseFormatType {
        /// Free text.
        Text = "text",
        /// Some JSON object.
        JsonObject = "json_object",
        /// JSON of a given schema.
        JsonSchema = "json_schema",
    }

    /// How long OpenAI keeps a cached prompt.
    pub enum PromptCacheRetention {
        /// While it is in memory.
        InMemory = "in_memory",
        /// A day.
        Hours24 = "24h",
    }

    /// How prompt caching is marked.
    pub enum PromptCacheMode {
        /// By the service.
        Implicit = "implicit",
        /// By break points in the request.
        Explicit = "explicit",
    }

    /// How long a cached prompt lives.
    pub enum PromptCacheTtl {
        /// Half an hour.
        Minutes30 = "30m",
    }

    /// What a moderation finding does.
    pub enum ModerationMode {
        /// It is reported.
        Score = "score",
        /// It stops the answer.
        Block = "block",
    }

    /// What moderation reports.
    pub enum ModerationKind {
        /// Findings.
        Results = "moderation_results",
        /// One finding.
        Result = "moderation_result",
        /// That it failed.
        Error = "error",
    }

    /// A kind of input that moderation looks at.
    pub enum ModerationInputType {
        /// Text.
        Text = "text",
        /// Pictures.
        Image = "image",
    }

    /// The kind of a predicted output.
    pub enum PredictionType {
        /// Text.
        Content = "content",
    }

    /// What an object says it is.
    pub enum ObjectType {
        /// A whole answer.
        ChatCompletion = "chat.completion",
        /// A piece of a streamed answer.
        ChatCompletionChunk = "chat.completion.chunk",
        /// A list.
        List = "list",
        /// A model.
        Model = "model",
    }

    /// The kind of an annotation.
    pub enum AnnotationType {
        /// A web page that the text leans on.
        UrlCitation = "url_citation",
        /// A file that the text leans on.
        File = "file",
    }

    /// Which quota served a request on Vertex.
    pub enum TrafficType {
        /// Pay as you go.
        OnDemand = "ON_DEMAND",
        /// Pay as you go, priority.
        OnDemandPriority = "ON_DEMAND_PRIORITY",
        /// Pay as you go, flexible.
        OnDemandFlex = "ON_DEMAND_FLEX",
        /// Bought capacity.
        ProvisionedThroughput = "PROVISIONED_THROUGHPUT",
    }
}
