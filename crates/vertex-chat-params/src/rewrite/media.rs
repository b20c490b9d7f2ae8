//! Pictures, films and files: the forms of other APIs, and MIME types that Gemini does not know.

use vertex_chat_types::{Content, ContentPart, Extra, ImageUrl, Json, Nullable, PartType};

use super::Rewriter;

/// Spellings of MIME types, and what they mean.
const SPELLINGS: [(&str, &str); 20] = [
    ("image/jpg", "image/jpeg"),
    ("image/pjpeg", "image/jpeg"),
    ("image/x-jpeg", "image/jpeg"),
    ("image/x-jpg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("image/x-png", "image/png"),
    ("png", "image/png"),
    ("image/x-webp", "image/webp"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("image/x-gif", "image/gif"),
    ("application/x-pdf", "application/pdf"),
    ("pdf", "application/pdf"),
    ("audio/x-wav", "audio/wav"),
    ("audio/wave", "audio/wav"),
    ("audio/vnd.wave", "audio/wav"),
    ("audio/x-mp3", "audio/mp3"),
    ("audio/x-flac", "audio/flac"),
    ("text", "text/plain"),
];
/// MIME types that say nothing.
const USELESS: [&str; 9] = [
    "",
    "image/*",
    "*/*",
    "image",
    "application/octet-stream",
    "binary/octet-stream",
    "application/unknown",
    "application/binary",
    "undefined",
];
/// File names' ends, for files whose first bytes do not say what they are.
const ENDINGS: [(&str, &str); 8] = [
    (".pdf", "application/pdf"),
    (".txt", "text/plain"),
    (".md", "text/plain"),
    (".csv", "text/csv"),
    (".html", "text/html"),
    (".json", "application/json"),
    (".mp3", "audio/mp3"),
    (".mov", "video/mov"),
];
/// So many bytes show what kind of file it is.
const MAGIC_BYTES: usize = 16;

impl Rewriter<'_> {
    /// Gemini's endpoint takes parts `text`, `image_url` and `input_audio`; a data URL of any media goes into `image_url`.
    pub(super) fn media_parts(&mut self) {
        let mut notes = Vec::new();
        let mut problems = Vec::new();
        for (i, message) in self.request.messages.iter_mut().enumerate() {
            let Nullable::Value(Content::Parts(parts)) = &mut message.content else { continue };
            for (j, part) in parts.iter_mut().enumerate() {
                let path = format!("messages[{i}].content[{j}]");
                match translated(part) {
                    Ok(None) => {}
                    Ok(Some(reason)) => notes.push((path, reason)),
                    Err((message, remedy)) => problems.push((path, message, remedy)),
                }
            }
        }
        self.notes(notes);
        for (path, message, remedy) in problems {
            self.refuse(path, message, remedy);
        }
    }

    /// The MIME types of data URLs.
    pub(super) fn media_type(&mut self) {
        let mut notes = Vec::new();
        let mut problems = Vec::new();
        for (i, message) in self.request.messages.iter_mut().enumerate() {
            let Nullable::Value(Content::Parts(parts)) = &mut message.content else { continue };
            for (j, part) in parts.iter_mut().enumerate() {
                let url = match &mut part.image_url {
                    Some(ImageUrl::Object(image)) => &mut image.url,
                    Some(ImageUrl::Bare(url)) => url,
                    _ => continue,
                };
                let path = format!("messages[{i}].content[{j}].image_url");
                match typed(url) {
                    Ok(None) => {}
                    Ok(Some(mime)) => notes.push((path, format!("the MIME type became `{mime}`"))),
                    Err(()) => problems.push(path),
                }
            }
        }
        self.notes(notes);
        for path in problems {
            let message =
                "the data URL does not say what kind of media it is, and its first bytes do not show it";
            self.refuse(path, message, "write the MIME type: data:image/png;base64,…");
        }
    }
}

type Translated = Result<Option<&'static str>, (String, &'static str)>;

/// Puts a part of another API into Gemini's form; says what was done.
fn translated(part: &mut ContentPart) -> Translated {
    if let Some(video) = part.video_url.take() {
        become_media(part, video.url);
        return Ok(Some("`video_url` became `image_url`, which takes any media"));
    }
    if let Some(mut file) = part.file.take() {
        let name = file.filename.take().unwrap_or_default();
        let Some(data) = file.file_data.take() else {
            let id = "a file by its id, which is known to OpenAI only";
            return Err((
                id.to_owned(),
                "send the file itself as `file_data`, or its address as `image_url`",
            ));
        };
        become_media(part, data_url(data, None, &name));
        return Ok(Some("`file` became `image_url`, which takes any media"));
    }
    let kind = part.r#type.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default();
    match kind.as_str() {
        "" | "text" | "image_url" | "input_audio" | "refusal" => Ok(None),
        "input_text" | "output_text" if part.text.is_some() => {
            part.r#type = Some(PartType::Text);
            Ok(Some("the type became `text`"))
        }
        "input_image" if part.image_url.is_some() => {
            let url = match part.image_url.take() {
                Some(ImageUrl::Object(image)) => image.url,
                Some(ImageUrl::Bare(url)) => url,
                _ => String::new(),
            };
            become_media(part, url);
            Ok(Some("`input_image` became `image_url`"))
        }
        "input_file" => {
            let name = part.extra.remove("filename").and_then(|it| it.to_text()).unwrap_or_default();
            let url = part.extra.remove("file_url").and_then(|it| it.to_text());
            let data = part.extra.remove("file_data").and_then(|it| it.to_text());
            match url.or_else(|| data.map(|it| data_url(it, None, &name))) {
                Some(url) => {
                    become_media(part, url);
                    Ok(Some("`input_file` became `image_url`, which takes any media"))
                }
                None => Err(unknown(&kind)),
            }
        }
        "image" | "document" | "video" | "audio" => match source(part) {
            Some(url) => {
                become_media(part, url);
                Ok(Some("its `source` became `image_url`, which takes any media"))
            }
            None => Err(unknown(&kind)),
        },
        // What it is stays whose word it is; what it holds is looked at.
        _ if part.text.is_some() || part.image_url.is_some() || part.input_audio.is_some() => Ok(None),
        _ => Err(unknown(&kind)),
    }
}

fn unknown(kind: &str) -> (String, &'static str) {
    const KIND_CHARS_MAX: usize = 40;
    let is_word = kind.len() <= KIND_CHARS_MAX
        && kind.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it));
    let kind =
        if is_word { format!("a part of the kind `{kind}`") } else { "a part of an unknown kind".to_owned() };
    (format!("{kind}, which Gemini does not take"), "send parts `text`, `image_url` or `input_audio`")
}

fn become_media(part: &mut ContentPart, url: String) {
    let media = ContentPart::image_url(url);
    part.r#type = media.r#type;
    part.image_url = media.image_url;
}

/// The `source` of Anthropic's parts as an address.
fn source(part: &mut ContentPart) -> Option<String> {
    let source = part.extra.remove("source")?;
    let mut source = Extra::from_json(&source).ok()?;
    if let Some(url) = source.get("url").and_then(Json::to_text) {
        return Some(url);
    }
    let mime = source.get("media_type").and_then(Json::to_text);
    let data = source.remove("data")?.to_text()?;
    Some(data_url(data, mime.as_deref(), ""))
}

/// Base64 as a data URL; what is one already stays.
fn data_url(data: String, mime: Option<&str>, name: &str) -> String {
    if data.starts_with("data:") || data.contains("://") {
        return data;
    }
    let by_name = || {
        let name = name.to_ascii_lowercase();
        ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, mime)| *mime)
    };
    let mime = mime.or_else(|| magic(&data)).or_else(by_name).unwrap_or_default();
    format!("data:{mime};base64,{data}")
}

/// Puts the MIME type of a data URL right; gives the new one. An error: nothing shows what it is.
fn typed(url: &mut String) -> Result<Option<String>, ()> {
    if !url.get(..5).is_some_and(|it| it.eq_ignore_ascii_case("data:")) {
        return Ok(None);
    }
    let Some(comma) = url.find(',') else { return Ok(None) };
    let head = &url[5..comma];
    if !head.to_ascii_lowercase().ends_with(";base64") {
        return Ok(None);
    }
    let given = head.split(';').next().unwrap_or_default();
    let lower = given.trim().to_ascii_lowercase();
    let mime = if USELESS.contains(&lower.as_str()) {
        magic(&url[comma + 1..]).ok_or(())?.to_owned()
    } else {
        SPELLINGS
            .iter()
            .find(|(spelling, _)| *spelling == lower)
            .map_or(lower, |(_, mime)| (*mime).to_owned())
    };
    if mime == given {
        return Ok(None);
    }
    let end = 5 + given.len();
    url.replace_range(..end, &format!("data:{mime}"));
    Ok(Some(mime))
}

/// What kind of media begins so.
fn magic(base64: &str) -> Option<&'static str> {
    let bytes = first_bytes(base64);
    let has = |at: usize, mark: &[u8]| bytes.get(at..).is_some_and(|it| it.starts_with(mark));
    let ftyp = has(4, b"ftyp");
    Some(match () {
        () if has(0, b"\xff\xd8\xff") => "image/jpeg",
        () if has(0, b"\x89PNG") => "image/png",
        () if has(0, b"GIF8") => "image/gif",
        () if has(0, b"RIFF") && has(8, b"WEBP") => "image/webp",
        () if has(0, b"RIFF") && has(8, b"WAVE") => "audio/wav",
        () if has(0, b"%PDF") => "application/pdf",
        () if ftyp && (has(8, b"hei") || has(8, b"mif1")) => "image/heic",
        () if ftyp && has(8, b"avif") => "image/avif",
        () if ftyp && has(8, b"qt") => "video/mov",
        () if ftyp => "video/mp4",
        () if has(0, b"\x1a\x45\xdf\xa3") => "video/webm",
        () if has(0, b"ID3") || has(0, b"\xff\xfb") || has(0, b"\xff\xf3") => "audio/mp3",
        () if has(0, b"OggS") => "audio/ogg",
        () if has(0, b"fLaC") => "audio/flac",
        () => return None,
    })
}

/// The first bytes of a base64 text, as far as they can be read.
fn first_bytes(base64: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC_BYTES);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in base64.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
        if bytes.len() == MAGIC_BYTES {
            break;
        }
    }
    bytes
}
