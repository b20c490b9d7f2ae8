//! Pictures, sound, films and files, in Gemini's words.

use serde::{Deserialize, Serialize};
use vertex_chat::Json;
use vertex_chat::types::{AudioInputFormat, FilePart, FunctionResponsePart, InputAudio};

use super::BatchError;

/// Data in the request itself. The type stands first: services have been seen to refuse it behind the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InlineData {
    #[serde(alias = "mime_type")]
    pub(super) mime_type: String,
    #[serde(default, alias = "display_name", skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<String>,
    pub(super) data: String,
}

/// Data by its address.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileUri {
    pub(super) mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<String>,
    pub(super) file_uri: String,
}

/// The one or the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Media {
    Inline(InlineData),
    File(FileUri),
}

impl Media {
    fn inline(mime_type: &str, data: &str) -> Self {
        let mime_type = proper(mime_type);
        Self::Inline(InlineData { mime_type, display_name: None, data: data.to_owned() })
    }

    fn file(mime_type: &str, uri: &str) -> Self {
        let mime_type = proper(mime_type);
        Self::File(FileUri { mime_type, display_name: None, file_uri: uri.to_owned() })
    }
}

/// `image/jpg` is what many write, and no registered type.
fn proper(mime_type: &str) -> String {
    let mime_type = mime_type.trim();
    if mime_type.eq_ignore_ascii_case("image/jpg") { "image/jpeg".to_owned() } else { mime_type.to_owned() }
}

/// What an address is of: `default` where its ending does not say.
pub(super) fn of_url(url: &str, default: &str, path: &str) -> Result<Media, BatchError> {
    if is_address(url) {
        return Ok(Media::file(of_ending(url).unwrap_or(default), url));
    }
    match of_data_url(url) {
        Some((mime_type, data)) => Ok(Media::inline(mime_type.unwrap_or(default), data)),
        None => {
            let remedy = "write gs://bucket/object, https://…, or data:<MIME>;base64,<data>";
            Err(BatchError::new(path, "not an address that Gemini reads", remedy))
        }
    }
}

/// Sound, whose type stands beside it.
pub(super) fn of_sound(audio: &InputAudio, path: &str) -> Result<Media, BatchError> {
    let format = match audio {
        InputAudio::Object(object) => object.format.as_ref(),
        _ => None,
    };
    let mime_type = format.map(|it| match it {
        AudioInputFormat::Other(word) if word.contains('/') => word.to_string(),
        word => format!("audio/{}", word.as_str()),
    });
    let data = audio.data();
    if is_address(data) {
        let known = mime_type.as_deref().or_else(|| of_ending(data));
        return Ok(Media::file(known.unwrap_or("audio/*"), data));
    }
    if let Some((own, data)) = of_data_url(data) {
        return typed(own.or(mime_type.as_deref()), data, path);
    }
    typed(mime_type.as_deref(), data, path)
}

/// A file by its content or its address.
pub(super) fn of_file(file: &FilePart, path: &str) -> Result<Media, BatchError> {
    let by_name = file.filename.as_deref().and_then(of_ending);
    if let Some(data) = file.file_data.as_deref() {
        if let Some((own, data)) = of_data_url(data) {
            return typed(own.or(by_name), data, path);
        }
        if is_address(data) {
            return Ok(Media::file(of_ending(data).or(by_name).unwrap_or("application/pdf"), data));
        }
        return typed(by_name, data, path);
    }
    match file.file_id.as_deref() {
        Some(id) if is_address(id) => {
            Ok(Media::file(of_ending(id).or(by_name).unwrap_or("application/pdf"), id))
        }
        _ => {
            let problem = "a file that was uploaded elsewhere, or none";
            Err(BatchError::new(path, problem, "write `file_data`, or the file's address gs://bucket/object"))
        }
    }
}

/// What a tool has brought, in Google's own addition to its answer.
pub(super) fn of_tool(part: &FunctionResponsePart, path: &str) -> Result<Media, BatchError> {
    if let Some(file) = &part.file_data {
        let file_uri = file.file_uri.clone().unwrap_or_default();
        let mime_type = file.mime_type.as_deref().or_else(|| of_ending(&file_uri));
        let Some(mime_type) = mime_type.map(proper) else { return Err(no_type(path)) };
        return Ok(Media::File(FileUri { mime_type, display_name: file.display_name.clone(), file_uri }));
    }
    let inline = part.inline_data.as_ref().map(Json::parse_as::<InlineData>);
    inline.and_then(Result::ok).map(Media::Inline).ok_or_else(|| {
        let remedy = "write `file_data` with `file_uri`, or `inline_data` with `mime_type` and `data`";
        BatchError::new(path, "neither a file's address nor its data", remedy)
    })
}

fn typed(mime_type: Option<&str>, data: &str, path: &str) -> Result<Media, BatchError> {
    mime_type.map(|it| Media::inline(it, data)).ok_or_else(|| no_type(path))
}

fn no_type(path: &str) -> BatchError {
    let remedy = "write it as data:<MIME>;base64,<data>, or give a file name with an ending";
    BatchError::new(path, "data of no known type", remedy)
}

fn is_address(text: &str) -> bool {
    ["gs://", "https://", "http://"].iter().any(|scheme| text.starts_with(scheme))
}

/// The type, where there is one, and the base64 of `data:<MIME>;base64,<data>`.
fn of_data_url(url: &str) -> Option<(Option<&str>, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let mime_type = head.strip_suffix(";base64")?;
    Some(((!mime_type.is_empty()).then_some(mime_type), data))
}

/// The type by the ending of a name or an address, for what Gemini reads.
fn of_ending(name: &str) -> Option<&'static str> {
    let path = name.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let (_, ending) = last.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "bmp" => "image/bmp",
        "pdf" => "application/pdf",
        "txt" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "ogg" | "opus" => "audio/ogg",
        "m4a" => "audio/m4a",
        "aac" => "audio/aac",
        "mp4" => "video/mp4",
        "mov" => "video/mov",
        "mpeg" | "mpg" => "video/mpeg",
        "webm" => "video/webm",
        "wmv" => "video/wmv",
        "avi" => "video/avi",
        "flv" => "video/x-flv",
        "3gp" => "video/3gpp",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vertex_chat::ContentPart;

    #[test]
    fn addresses_and_data_are_told_apart() {
        let check =
            |url: &str, expected: Media| assert_eq!(of_url(url, "image/*", "p"), Ok(expected), "{url}");
        check("gs://b/cat.PNG", Media::file("image/png", "gs://b/cat.PNG"));
        check("https://x/film.mp4?a=b.c#d", Media::file("video/mp4", "https://x/film.mp4?a=b.c#d"));
        check("gs://b/cat", Media::file("image/*", "gs://b/cat"));
        check("data:image/jpg;base64,AAAA", Media::inline("image/jpeg", "AAAA"));
        check("data:;base64,AAAA", Media::inline("image/*", "AAAA"));
        for wrong in ["", "cat.png", "ftp://x/cat.png", "data:image/png,AAAA", "data:image/png;base64"] {
            assert_eq!(of_url(wrong, "image/*", "p").unwrap_err().field(), "p", "{wrong}");
        }
    }

    #[test]
    fn sound_has_a_type_or_is_refused() {
        let check = |data: &str, format: &str, expected: Media| {
            let part = ContentPart::input_audio(data, format);
            assert_eq!(of_sound(part.input_audio.as_ref().unwrap(), "p"), Ok(expected));
        };
        check("AAAA", "wav", Media::inline("audio/wav", "AAAA"));
        check("AAAA", "audio/ogg", Media::inline("audio/ogg", "AAAA"));
        check("gs://b/s.flac", "mp3", Media::file("audio/mp3", "gs://b/s.flac"));
        check("data:audio/aac;base64,AAAA", "mp3", Media::inline("audio/aac", "AAAA"));
        assert!(of_sound(&InputAudio::Bare("AAAA".to_owned()), "p").is_err());
    }

    #[test]
    fn files_are_read_by_their_name() {
        let file = FilePart::default().with_filename("a.pdf").with_file_data("AAAA");
        assert_eq!(of_file(&file, "p"), Ok(Media::inline("application/pdf", "AAAA")));
        let uploaded = FilePart::default().with_file_id("file-123");
        assert!(of_file(&uploaded, "p").unwrap_err().to_string().contains("gs://"));
    }
}
