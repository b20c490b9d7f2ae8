//! What can be told of a request's body in one pass over its bytes, without reading it into a request.
//!
//! Most requests are a model, messages of text and a few numbers, and are sent as they came. To know that of a prompt of
//! 200 KB, its text has to be looked at, but not copied.

use std::ops::Range;

use memchr::memchr2;
use vertex_chat_types::StreamOptions;

use crate::{Dialect, Target};

/// The most fields that are looked at; there are fewer parameters than that.
const FIELDS_MAX: usize = 64;
/// The longest string whose inside is looked at.
const SOUND_BYTES_MAX: usize = 16 << 10;
/// A number of tokens that every model's limits take.
const TOKENS_EVERYWHERE: u32 = 4096;

/// What was seen of a request's body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Glance {
    model: Option<(Range<usize>, String)>,
    stream: bool,
    stream_options: Option<Range<usize>>,
    /// Whether the rest is what every server takes as it is: text by system, user and assistant, plain numbers.
    is_plain: bool,
    has_user: bool,
    has_max_tokens: bool,
    has_max_completion_tokens: bool,
}

impl Glance {
    /// Looks at a body. `None` when it is no JSON object, has a field twice, or needs a reader to tell.
    ///
    /// ```
    /// use vertex_chat_params::Glance;
    ///
    /// let body = br#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}],"stream":true}"#;
    /// let glance = Glance::of(body).expect("it is an object");
    /// assert_eq!((glance.model(), glance.is_stream()), (Some("gpt-4o"), true));
    /// ```
    #[must_use]
    pub fn of(body: &[u8]) -> Option<Self> {
        let mut scan = Scan { text: body, at: 0 };
        let mut glance = Self { is_plain: true, ..Self::default() };
        let mut seen: Vec<&[u8]> = Vec::with_capacity(8);
        scan.object(|scan, key| {
            if seen.len() == FIELDS_MAX || seen.contains(&key) {
                return None;
            }
            seen.push(key);
            glance.field(scan, key)
        })?;
        scan.space();
        (scan.at == body.len()).then_some(glance)
    }

    fn field(&mut self, scan: &mut Scan<'_>, key: &[u8]) -> Option<()> {
        match key {
            b"model" => {
                let start = scan.at;
                let text = scan.string()?;
                // A name with an escape in it is left to a reader.
                let text = std::str::from_utf8(text).ok().filter(|it| !it.contains('\\'))?;
                self.model = Some((start..scan.at, text.to_owned()));
            }
            b"stream" => match scan.scalar()? {
                b"true" => self.stream = true,
                b"false" => {}
                _ => self.is_plain = false,
            },
            b"stream_options" => {
                let start = scan.at;
                scan.skip()?;
                self.stream_options = Some(start..scan.at);
            }
            b"messages" => self.messages(scan)?,
            b"max_tokens" | b"max_completion_tokens" => {
                let is_old = key == b"max_tokens";
                self.has_max_tokens |= is_old;
                self.has_max_completion_tokens |= !is_old;
                let tokens = number::<u32>(scan)?;
                self.is_plain &= tokens.is_some_and(|it| (1..=TOKENS_EVERYWHERE).contains(&it));
            }
            b"temperature" | b"top_p" | b"presence_penalty" | b"frequency_penalty" => {
                self.is_plain &= number::<f64>(scan)?.is_some_and(|it| (0.0..=1.0).contains(&it));
            }
            b"seed" => self.is_plain &= number::<i32>(scan)?.is_some(),
            b"n" => self.is_plain &= number::<u32>(scan)? == Some(1),
            _ => {
                self.is_plain = false;
                scan.skip()?;
            }
        }
        Some(())
    }

    fn messages(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        if scan.peek() != Some(b'[') {
            self.is_plain = false;
            return scan.skip();
        }
        let mut any = false;
        scan.array(|scan| {
            any = true;
            if scan.peek() != Some(b'{') {
                self.is_plain = false;
                return scan.skip();
            }
            let (mut role, mut content) = (false, false);
            scan.object(|scan, key| {
                match (key, scan.peek()) {
                    (b"role", Some(b'"')) if !role => {
                        role = true;
                        match scan.string()? {
                            b"user" => self.has_user = true,
                            b"system" | b"assistant" => {}
                            _ => self.is_plain = false,
                        }
                    }
                    (b"content", Some(b'"')) if !content => {
                        content = true;
                        let text = scan.string()?;
                        self.is_plain &= is_sound(text) && !text.is_empty();
                    }
                    _ => {
                        self.is_plain = false;
                        scan.skip()?;
                    }
                }
                Some(())
            })?;
            self.is_plain &= role && content;
            Some(())
        })?;
        self.is_plain &= any;
        Some(())
    }

    /// The model that it asks for.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_ref().map(|(_, model)| model.as_str())
    }

    /// Whether it is messages of text and plain numbers, which every server takes as they are, and nothing else.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether it asks for a stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// What it says of the stream that it asks for.
    #[must_use]
    pub fn stream_options(&self, body: &[u8]) -> Option<StreamOptions> {
        vertex_chat_types::from_slice(body.get(self.stream_options.clone()?)?).ok()
    }

    /// The body with another model, and what is seen of it then.
    #[must_use]
    pub fn with_model(mut self, body: &[u8], model: &str) -> (Vec<u8>, Self) {
        let name = serde_json::to_string(model).expect("because a string is JSON");
        let (start, end, comma) = match &self.model {
            Some((span, _)) => (span.start, span.end, ""),
            // Behind the brace that opens the object.
            None => {
                let start = body.iter().position(|it| *it == b'{').map_or(0, |it| it + 1);
                (start, start, if self.is_empty_object(body, start) { "" } else { "," })
            }
        };
        let key = if self.model.is_some() { "" } else { "\"model\":" };
        let mut changed = Vec::with_capacity(body.len() + key.len() + name.len());
        changed.extend_from_slice(&body[..start]);
        changed.extend_from_slice(key.as_bytes());
        let value = changed.len();
        changed.extend_from_slice(name.as_bytes());
        let span = value..changed.len();
        changed.extend_from_slice(comma.as_bytes());
        let moved = |at: usize| if at >= end { at - end + changed.len() } else { at };
        self.stream_options = self.stream_options.map(|it| moved(it.start)..moved(it.end));
        changed.extend_from_slice(&body[end..]);
        self.model = Some((span, model.to_owned()));
        (changed, self)
    }

    fn is_empty_object(&self, body: &[u8], start: usize) -> bool {
        body[start..].trim_ascii_start().first() == Some(&b'}')
    }

    /// Whether nothing of it has to be looked at, let alone changed, for this target.
    pub(crate) fn is_quiet(&self, target: &Target) -> bool {
        let model = self.model().unwrap_or_default();
        let has_publisher =
            model.split_once('/').is_some_and(|(publisher, name)| !publisher.is_empty() && !name.is_empty());
        self.is_plain
            && match target.dialect {
                Dialect::VertexGemini2 | Dialect::VertexGemini3 => {
                    let one_limit = !(self.has_max_tokens && self.has_max_completion_tokens);
                    has_publisher && self.has_user && one_limit && self.stream_options.is_none()
                }
                Dialect::VertexPartner => has_publisher && self.stream_options.is_none(),
                Dialect::Vllm | Dialect::OpenAi => self.stream_options.is_none() || self.stream,
                Dialect::GeminiDeveloper | Dialect::Tgi => false,
            }
    }
}

/// A number that is one by JSON's rules as far as it matters; `Some(None)` when it is another value.
fn number<T: std::str::FromStr>(scan: &mut Scan<'_>) -> Option<Option<T>> {
    let text = std::str::from_utf8(scan.value()?).ok()?;
    let begins = text.starts_with(|it: char| it.is_ascii_digit());
    let is_plain = begins && (text == "0" || !text.starts_with('0') || text.starts_with("0."));
    let is_plain =
        is_plain && text.bytes().all(|it| it.is_ascii_digit() || it == b'.') && !text.ends_with('.');
    Some(text.parse().ok().filter(|_| is_plain))
}

/// Whether a JSON string's inside is one: UTF-8, no control characters, escapes that stand for something. A long one is not
/// looked into: who gets it does so, and that costs as much as all else that is done with it here.
fn is_sound(text: &[u8]) -> bool {
    if text.len() > SOUND_BYTES_MAX {
        return true;
    }
    // In blocks, so that the compiler can look at many bytes at once.
    let controls = |block: &[u8]| block.iter().fold(false, |found, byte| found | (*byte < 0x20));
    if std::str::from_utf8(text).is_err() || text.chunks(64).any(controls) {
        return false;
    }
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        match rest.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => rest = &rest[at + 2..],
            Some(b'u') => {
                let Some(digits) = rest.get(at + 2..at + 6) else { return false };
                let is_surrogate = digits[0].eq_ignore_ascii_case(&b'd') && digits[1] >= b'8';
                if is_surrogate || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return false;
                }
                rest = &rest[at + 6..];
            }
            _ => return false,
        }
    }
    true
}

/// The most arrays and objects in each other that are passed over; deeper ones are left to a reader.
const DEPTH_MAX: usize = 128;

/// A walk over a JSON text. `None` means that it is not JSON, or not to be told without a reader.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The inside of a string.
    fn string(&mut self) -> Option<&'a [u8]> {
        (self.peek()? == b'"').then_some(())?;
        let start = self.at + 1;
        let mut at = start;
        loop {
            at += memchr2(b'"', b'\\', self.text.get(at..)?)?;
            if self.text[at] == b'"' {
                self.at = at + 1;
                return Some(&self.text[start..at]);
            }
            at += 2;
        }
    }

    /// A number, `true`, `false` or `null`, or what stands in their place.
    fn scalar(&mut self) -> Option<&'a [u8]> {
        let rest = &self.text[self.at..];
        let end =
            rest.iter().position(|it| matches!(it, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))?;
        self.at += end;
        Some(&rest[..end])
    }

    /// Any value, as its text.
    fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.skip()?;
        Some(&self.text[start..self.at])
    }

    /// Passes over a value.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            self.space();
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    if depth > DEPTH_MAX {
                        return None;
                    }
                }
                b'}' | b']' => {
                    depth = usize::checked_sub(depth, 1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                _ => {
                    if self.scalar()?.is_empty() {
                        return None;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn array(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        self.space();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.space();
            item(self)?;
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn object(&mut self, mut field: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        self.space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.space();
            let key = self.string()?;
            if memchr::memchr(b'\\', key).is_some() {
                return None;
            }
            self.expect(b':')?;
            self.space();
            field(self, key)?;
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(body: &str, dialect: Dialect) -> bool {
        Glance::of(body.as_bytes()).is_some_and(|it| it.is_quiet(&Target::new(dialect)))
    }

    #[test]
    fn plain_chat_is_quiet_and_everything_else_is_read() {
        let plain = r#"{"model":"google/gemini-2.5-flash","messages":[{"role":"user","content":"a\n\"é"}]"#;
        for more in ["}", r#","stream":true}"#, r#","temperature":0.5,"max_tokens":16}"#, " }\n"] {
            assert!(quiet(&format!("{plain}{more}"), Dialect::VertexGemini2), "{more}");
        }
        for more in [
            r#","user":"x"}"#,
            r#","max_tokens":0}"#,
            r#","max_tokens":9,"max_completion_tokens":9}"#,
            r#","temperature":1.5}"#,
            r#","temperature":01}"#,
            r#","temperature":"1"}"#,
            r#","stream":null}"#,
            r#","stream_options":{}}"#,
            r#","model":"b"}"#,
            r#","tools":[]}"#,
            "",
            "}}",
        ] {
            assert!(!quiet(&format!("{plain}{more}"), Dialect::VertexGemini2), "{more}");
        }
        for messages in [
            "[]",
            r#"[{"role":"system","content":"x"}]"#,
            r#"[{"role":"developer","content":"x"}]"#,
            r#"[{"role":"user","content":"\ud800"}]"#,
            r#"[{"role":"user","content":"\x"}]"#,
            "[{\"role\":\"user\",\"content\":\"\u{1}\"}]",
            r#"[{"role":"user","content":[]}]"#,
            r#"[{"role":"user"}]"#,
            r#"[{"role":"user","content":"x","name":"y"}]"#,
            r#"[{"role":"user","content":"x","content":"y"}]"#,
        ] {
            let body = format!(r#"{{"model":"google/gemini-2.5-flash","messages":{messages}}}"#);
            assert!(!quiet(&body, Dialect::VertexGemini2), "{messages}");
        }
        assert!(!quiet(&plain.replace("google/", ""), Dialect::VertexGemini2));
        // The server looks into what is long.
        for (length, expected) in [(SOUND_BYTES_MAX - 1, false), (SOUND_BYTES_MAX, true)] {
            let text = format!("{}\\x", "a".repeat(length - 1));
            let body = format!(
                r#"{{"model":"google/gemini-2.5-flash","messages":[{{"role":"user","content":"{text}"}}]}}"#
            );
            assert_eq!(quiet(&body, Dialect::VertexGemini2), expected, "{length}");
        }
    }

    #[test]
    fn another_model_takes_the_place_of_the_first() {
        for (body, expected) in [
            (
                r#"{"model":"a","stream_options":{"include_usage":true}}"#,
                r#"{"model":"bcd","stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream_options":{"include_usage":true}, "model" : "a"}"#,
                r#"{"stream_options":{"include_usage":true}, "model" : "bcd"}"#,
            ),
            (
                r#"{"stream_options":{"include_usage":true}}"#,
                r#"{"model":"bcd","stream_options":{"include_usage":true}}"#,
            ),
            ("{}", r#"{"model":"bcd"}"#),
        ] {
            let glance = Glance::of(body.as_bytes()).unwrap();
            let (changed, glance) = glance.with_model(body.as_bytes(), "bcd");
            assert_eq!(std::str::from_utf8(&changed).unwrap(), expected);
            assert_eq!(glance, Glance::of(&changed).unwrap(), "{expected}");
            if body != "{}" {
                assert_eq!(glance.stream_options(&changed).unwrap().include_usage, Some(true));
            }
        }
    }
}
