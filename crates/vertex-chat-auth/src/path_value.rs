//! Values that stand where the path of a file belongs: is it a path, or the secret that should be in the file?
//!
//! People paste a key, its base64 or a token where a path belongs. An error that shows the value then shows the secret.
//! So a value is shown only if it is an existing file or looks like a path.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// The longest path of Linux, in bytes.
const PATH_BYTES_MAX: usize = 4096;
/// The longest name of a file on the usual file systems, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// A word without a folder and without an extension is taken for a file's name up to this length, in bytes. Tokens are longer.
const BARE_NAME_BYTES_MAX: usize = 32;
/// The longest extension of a file's name, in bytes.
const EXTENSION_BYTES_MAX: usize = 10;
/// The shortest run of letters and digits that is taken for a secret if it mixes upper case, lower case and digits, in bytes.
const SECRET_RUN_BYTES_MIN: usize = 40;
/// How much of a value is decoded to see what it encodes, in bytes.
const DECODED_BYTES_MAX: usize = 256;
/// How often one encoding may be inside of another.
const ENCODINGS_MAX: usize = 3;
/// What tokens and keys begin with, and what they are. A value that begins so is never shown unless it is an existing file.
const PREFIXES: [(&str, MisplacedValue); 18] = [
    ("ya29.", MisplacedValue::AccessToken),
    ("1//", MisplacedValue::RefreshToken),
    ("1/0", MisplacedValue::RefreshToken),
    ("4/0", MisplacedValue::RefreshToken),
    ("4/1", MisplacedValue::RefreshToken),
    ("GOCSPX-", MisplacedValue::ApiKey),
    ("AIza", MisplacedValue::ApiKey),
    ("AQ.", MisplacedValue::ApiKey),
    ("sk-", MisplacedValue::ApiKey),
    ("gsk_", MisplacedValue::ApiKey),
    ("hf_", MisplacedValue::ApiKey),
    ("ghp_", MisplacedValue::AccessToken),
    ("github_pat_", MisplacedValue::AccessToken),
    ("AKIA", MisplacedValue::ApiKey),
    ("Bearer ", MisplacedValue::AccessToken),
    ("vc-", MisplacedValue::ApiKey),
    ("glpat-", MisplacedValue::AccessToken),
    ("xox", MisplacedValue::AccessToken),
];
/// Those that are in no name of a file, wherever a word begins.
const CERTAIN_PREFIXES: [&str; 9] =
    ["ya29.", "1//", "AIza", "GOCSPX-", "Bearer ", "glpat-", "gsk_", "github_pat_", "AQ."];
/// The shortest run whose letters and digits are looked at for whether chance has made them, in bytes.
const RANDOM_RUN_BYTES_MIN: usize = 20;
/// Names of fields that credential files have.
const FIELDS: [&str; 6] =
    ["private_key", "client_email", "refresh_token", "client_secret", "service_account", "authorized_user"];

/// What a value seems to be that stands where the path of a file belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MisplacedValue {
    /// JSON, as credential files have it.
    Json,
    /// JSON, a key or an archive in base64 or hexadecimal digits.
    Encoded,
    /// A key or certificate in PEM.
    Pem,
    /// An access token.
    AccessToken,
    /// A refresh token or authorization code.
    RefreshToken,
    /// An API key or client secret.
    ApiKey,
    /// A JSON Web Token.
    Jwt,
    /// A URL.
    Url,
    /// Something else that is no path.
    Text,
}

impl fmt::Display for MisplacedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "the JSON of a credential file",
            Self::Encoded => "the encoded content of a file (base64 or hexadecimal digits)",
            Self::Pem => "a key or certificate in PEM",
            Self::AccessToken => "an access token",
            Self::RefreshToken => "a refresh token",
            Self::ApiKey => "an API key",
            Self::Jwt => "a JSON Web Token",
            Self::Url => "a URL",
            Self::Text => "no path of a file",
        })
    }
}

/// Checks whether a value may be shown as the path of a file: it is an existing file, or it looks like a path.
///
/// ```
/// use vertex_chat_auth::{MisplacedValue, check_path};
///
/// assert_eq!(check_path("/etc/vertex/key.json"), Ok(()));
/// assert_eq!(check_path(r#"{"type": "service_account"}"#), Err(MisplacedValue::Json));
/// ```
///
/// # Errors
/// With what the value seems to be. Then it may be a secret, and must not be shown.
pub fn check_path(value: impl AsRef<Path>) -> Result<(), MisplacedValue> {
    let path = value.as_ref();
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.len() <= PATH_BYTES_MAX && path.exists() {
        return Ok(());
    }
    match misplaced(&String::from_utf8_lossy(bytes), 0) {
        Some(what) => Err(what),
        None => Ok(()),
    }
}

/// A path for an error or a log: the path itself if [`check_path`] lets it be shown, else what the value seems to be.
#[must_use]
pub fn shown_path(path: impl AsRef<Path>) -> String {
    match check_path(&path) {
        Ok(()) => path.as_ref().display().to_string(),
        Err(what) => format!("[a value that is not shown: it seems to be {what}]"),
    }
}

/// A name that a person gave, such as a project's, for an error or a report: the name itself if it is short and of a
/// name's letters, else what the value seems to be.
#[must_use]
pub fn shown_name(name: &str) -> String {
    const NAME_BYTES_MAX: usize = 100;
    let known = |it: u8| it.is_ascii_alphanumeric() || b".:-_@/+".contains(&it);
    let secret = secret_prefix(name).or_else(|| encoded(name, 0)).or_else(|| {
        let is_name = name.len() <= NAME_BYTES_MAX && name.bytes().all(known) && !has_secret_run(name);
        (!is_name).then_some(MisplacedValue::Text)
    });
    match secret {
        None => name.to_owned(),
        Some(MisplacedValue::Text) => "[a value that is not shown: it is no name]".to_owned(),
        Some(what) => format!("[a value that is not shown: it seems to be {what}]"),
    }
}

/// What a text seems to be; `None` when it looks like a path.
fn misplaced(text: &str, depth: usize) -> Option<MisplacedValue> {
    let bare = text.trim_start_matches(|it: char| it.is_whitespace() || "\u{feff}'\"`\\".contains(it));
    // `\\server\share` is a path of Windows, and an escaped quote is none.
    let bare = if text.starts_with(r"\\") && !bare.starts_with('{') { text } else { bare };
    if bare.contains("-----BEGIN") || bare.contains("PRIVATE KEY") {
        return Some(MisplacedValue::Pem);
    }
    if bare.starts_with(['{', '[']) || starts_with_ignoring_case(bare, "%7b") {
        return Some(MisplacedValue::Json);
    }
    if let Some((scheme, rest)) = bare.split_once(':')
        && scheme.len() > 1
        && scheme.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-._".contains(&it))
    {
        // `file:{…}`, `base64:…`, `data:application/json;base64,…`: the rest tells what it is.
        let rest = rest.rsplit_once(',').map_or(rest, |(_, data)| data).trim_start_matches('/');
        let inner = if depth < ENCODINGS_MAX { misplaced(rest, depth + 1) } else { None };
        return Some(inner.filter(|it| *it != MisplacedValue::Text).unwrap_or(MisplacedValue::Url));
    }
    let fields = FIELDS.iter().filter(|field| bare.contains(**field)).count();
    if fields > 1 || (fields > 0 && bare.contains([':', '=', '"'])) {
        return Some(MisplacedValue::Json);
    }
    if let Some(what) = secret_prefix(bare).or_else(|| encoded(bare, depth)) {
        return Some(what);
    }
    if let Some(what) = secret_word(bare) {
        return Some(what);
    }
    if looks_like_path(text) { None } else { Some(MisplacedValue::Text) }
}

/// What a word in a text is that begins as no file's name does: `TOKEN=ya29.…`, `/etc/key.json ya29.…`, `./ya29.…`,
/// `/key?access_token=ya29.…`.
fn secret_word(text: &str) -> Option<MisplacedValue> {
    let begins_word = |at: usize| at == 0 || !text.as_bytes()[at - 1].is_ascii_alphanumeric();
    let mut certain = PREFIXES.iter().filter(|(prefix, _)| CERTAIN_PREFIXES.contains(prefix));
    let found = certain.find(|(prefix, _)| text.match_indices(prefix).any(|(at, _)| begins_word(at)));
    found.map(|(_, what)| *what)
}

fn secret_prefix(text: &str) -> Option<MisplacedValue> {
    let (prefix, what) = PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix))?;
    // `sk-keys/key.json` and `hf_cache` are paths; Google's prefixes are in no path.
    let is_certain = CERTAIN_PREFIXES.contains(prefix);
    (is_certain || !(has_extension(text) || text.len() <= BARE_NAME_BYTES_MAX / 2)).then_some(*what)
}

/// What a text in base64 or hexadecimal digits encodes, if that is a secret's form.
pub(crate) fn encoded(text: &str, depth: usize) -> Option<MisplacedValue> {
    if depth >= ENCODINGS_MAX {
        return None;
    }
    let is_base64 = |it: &u8| it.is_ascii_alphanumeric() || b"+/-_".contains(it);
    let run: Vec<u8> = text
        .bytes()
        .filter(|it| !it.is_ascii_whitespace())
        .take_while(is_base64)
        .take(DECODED_BYTES_MAX)
        .collect();
    if run.len() < 4 * 4 {
        return None;
    }
    let is_secret = |bytes: &[u8]| {
        let head = String::from_utf8_lossy(bytes);
        let bare = head.trim_start_matches(|it: char| it.is_whitespace() || "\u{feff}'\"".contains(it));
        let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        let archive = bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(b"PK\x03\x04");
        let object = bare.starts_with('{') && bare[1..].trim_start().starts_with(['"', '\\', '}', '\'']);
        let xz = bytes.starts_with(b"\xfd7zXZ") || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        // Chance does not make so many printable bytes.
        let words =
            bytes.len() >= 12 && bytes.iter().all(|it| (b' '..=b'~').contains(it) || b"\n\r\t".contains(it));
        // ASN.1, as keys are without PEM.
        let key = bytes.len() >= 32 && bytes[0] == 0x30 && matches!(bytes[1], 0x20..=0x82);
        utf16
            || archive
            || xz
            || words
            || key
            || object
            || bare.starts_with("-----BEGIN")
            || encoded(bare, depth + 1).is_some()
    };
    let hex: Option<Vec<u8>> = run
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    if hex.is_some_and(|bytes| is_secret(&bytes)) {
        return Some(MisplacedValue::Encoded);
    }
    let whole = &run[..run.len() / 4 * 4];
    let is_url_safe = whole.iter().any(|it| b"-_".contains(it));
    let alphabet = if is_url_safe { URL_SAFE } else { STANDARD };
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let bytes = GeneralPurpose::new(&alphabet, config).decode(whole).ok()?;
    let is_jwt = bytes.starts_with(b"{\"") && text.bytes().filter(|it| *it == b'.').count() == 2;
    is_secret(&bytes).then_some(if is_jwt { MisplacedValue::Jwt } else { MisplacedValue::Encoded })
}

/// Whether a text has the form of a path: what people and systems call files, not what they put into them.
fn looks_like_path(text: &str) -> bool {
    let is_odd = |it: char| it.is_control() || "{}\"<>|;\u{2028}\u{2029}".contains(it);
    let is_separator = |it: char| it == '/' || it == '\\';
    if text.is_empty() || text.len() > PATH_BYTES_MAX || text.contains(is_odd) {
        return false;
    }
    if text.split(is_separator).any(|name| name.len() > NAME_BYTES_MAX) {
        return false;
    }
    let is_rooted = text.starts_with(['/', '\\', '~', '.'])
        || text.as_bytes().get(1..3).is_some_and(|it| it[0] == b':' && b"/\\".contains(&it[1]));
    // What `\\?\` begins is a path of Windows; elsewhere a question mark begins a query.
    if has_secret_run(text) || text.strip_prefix(r"\\?\").unwrap_or(text).contains('?') {
        return false;
    }
    let is_word = |it: char| it.is_ascii_alphanumeric();
    if is_rooted || has_extension(text) {
        // Names of folders may be hashes, in lower case.
        return !text.split(|it| !is_word(it)).any(|run| is_random(run) && has_both_cases(run));
    }
    if text.contains('=') || text.split(|it| !is_word(it)).any(is_random) {
        return false;
    }
    // Base64 has a slash here and there.
    !text.split(|it| !(is_word(it) || "/+".contains(it))).any(|run| is_random(run) && has_both_cases(run))
        && (text.contains(is_separator) || text.len() <= BARE_NAME_BYTES_MAX)
}

/// Whether chance seems to have made a word: upper case, lower case and digits follow each other without an order.
fn is_random(run: &str) -> bool {
    if run.len() < RANDOM_RUN_BYTES_MIN {
        return false;
    }
    let class = |it: u8| match it {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => 1,
        _ => 2,
    };
    let bytes: Vec<u8> = run.bytes().filter(u8::is_ascii_alphanumeric).collect();
    let changes = bytes.windows(2).filter(|pair| class(pair[0]) != class(pair[1])).count();
    // Words with a capital and a number have far fewer; chance makes six in ten.
    changes * 10 > bytes.len() * 3
}

fn has_both_cases(run: &str) -> bool {
    run.bytes().any(|it| it.is_ascii_lowercase()) && run.bytes().any(|it| it.is_ascii_uppercase())
}

fn has_extension(text: &str) -> bool {
    text.rsplit_once('.').is_some_and(|(before, extension)| {
        !before.is_empty()
            && (1..=EXTENSION_BYTES_MAX).contains(&extension.len())
            && extension.bytes().all(|it| it.is_ascii_alphanumeric())
            && extension.bytes().any(|it| it.is_ascii_alphabetic())
    })
}

/// Whether there is a long run of mixed letters and digits, as in tokens.
fn has_secret_run(text: &str) -> bool {
    text.split(|it: char| !(it.is_ascii_alphanumeric() || "+=-_".contains(it))).any(|run| {
        let has = |class: fn(&u8) -> bool| run.as_bytes().iter().any(class);
        run.len() >= SECRET_RUN_BYTES_MIN
            && has(u8::is_ascii_digit)
            && has(u8::is_ascii_lowercase)
            && has(u8::is_ascii_uppercase)
    })
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nMIIE"}"#;
    const OTHER_KEY: &str =
        r#"{"type":"authorized_user","refresh_token":"1//0canary","client_secret":"canary"}"#;

    fn base64(text: impl AsRef<[u8]>) -> String {
        base64::engine::general_purpose::STANDARD.encode(text)
    }

    #[test]
    fn paths_are_shown() {
        for path in [
            "/etc/vertex/key.json",
            "key.json",
            "./key",
            "../keys/prod.json",
            "~/keys/prod.json",
            "keys/my-project-1a2b3c4d5e6f.json",
            r"C:\Users\me\key.json",
            "C:/Users/me/key.json",
            r"\\server\share\key.json",
            "/var/run/secrets/tokens/gcp-ksa/google-application-credentials.json",
            "/nix/store/0c1p5z1b9g2a5r3k4v6d8f7h9j0l2m3n-key/key.json",
            "my key.json",
            "sk-keys/key.json",
            "key",
            "/no/such/folder/Ümläut.json",
            "/var/lib/docker/overlay2/3b1f0a9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a/key.json",
            "/Users/Me/Library/Application Support/GoogleCloudKeys/ServiceAccount1",
            "keys/prod/ServiceAccount2",
            "./1/0/key.json",
        ] {
            assert_eq!(check_path(path), Ok(()), "{path}");
            assert_eq!(shown_path(path), path);
        }
    }

    #[test]
    fn an_existing_file_is_shown_whatever_its_name_is() {
        let folder = std::env::temp_dir().join(format!("vertex-chat-auth-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("ya29.{canary}");
        std::fs::write(&path, "").unwrap();
        assert_eq!(check_path(&path), Ok(()));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn secrets_are_named_and_not_shown() {
        use MisplacedValue::{AccessToken, ApiKey, Encoded, Json, Jwt, Pem, RefreshToken, Text, Url};

        let hex: String = OTHER_KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
        let wrapped =
            base64(KEY).as_bytes().chunks(76).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
        let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(OTHER_KEY);
        for (value, expected) in [
            (KEY.to_owned(), Pem),
            (OTHER_KEY.to_owned(), Json),
            (format!("  \n{OTHER_KEY}"), Json),
            (format!("\u{feff}{OTHER_KEY}"), Json),
            (format!("'{OTHER_KEY}'"), Json),
            (format!("{OTHER_KEY:?}"), Json),
            (format!("\"{}\"", OTHER_KEY.replace('"', "\\\"")), Json),
            (r#""type": "service_account", "client_email": "canary""#.to_owned(), Json),
            ("type: service_account client_email: canary".to_owned(), Json),
            ("%7B%22type%22%3A%22canary%22%7D".to_owned(), Json),
            (format!("GOOGLE_CREDENTIALS={OTHER_KEY}"), Json),
            (format!("file://{OTHER_KEY}"), Json),
            (format!("file:{OTHER_KEY}"), Json),
            (base64(OTHER_KEY), Encoded),
            (base64(KEY), Encoded),
            (wrapped, Encoded),
            (url_safe, Encoded),
            (base64(format!("\u{feff}{OTHER_KEY}")), Encoded),
            (base64(format!("\n  {OTHER_KEY}")), Encoded),
            (base64(base64(OTHER_KEY)), Encoded),
            (format!("'{}'", base64(OTHER_KEY)), Encoded),
            (format!("data:application/json;base64,{}", base64(OTHER_KEY)), Encoded),
            (format!("base64:{}", base64(OTHER_KEY)), Encoded),
            (hex, Encoded),
            (base64([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 4, 5]), Encoded),
            (base64("-----BEGIN PRIVATE KEY-----\nMIIE"), Encoded),
            ("-----BEGIN PRIVATE KEY-----MIIEvQIBADANcanary-----END PRIVATE KEY-----".to_owned(), Pem),
            (r"-----BEGIN PRIVATE KEY-----\nMIIEcanary\n".to_owned(), Pem),
            ("1//0gcanary-L9IrCANARY".to_owned(), RefreshToken),
            ("AIzaSyCanaryCanaryCanaryCanaryCanaryCan".to_owned(), ApiKey),
            ("ya29.canary".to_owned(), AccessToken),
            ("ya29.a0AfH6SMBcanary/canary.json".to_owned(), AccessToken),
            ("Bearer ya29.canary".to_owned(), AccessToken),
            ("sk-proj-canarycanarycanarycanary".to_owned(), ApiKey),
            ("GOCSPX-canary".to_owned(), ApiKey),
            ("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJjYW5hcnkifQ.Y2FuYXJ5".to_owned(), Jwt),
            ("gs://bucket/canary.json".to_owned(), Url),
            ("https://canary@example.com/key.json?token=canary".to_owned(), Url),
            ("Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9v1".to_owned(), Encoded),
            ("0123456789abcdef0123456789abcdef01234567".to_owned(), Text),
            ("glpat-canaryCanary0123456789".to_owned(), AccessToken),
            ("xoxp-123456789012-canary".to_owned(), AccessToken),
            ("4/1AcanaryCanary0123456789".to_owned(), RefreshToken),
            ("1/0gcanaryCanary0123456789".to_owned(), RefreshToken),
            ("REFRESH_TOKEN=1//0gcanary".to_owned(), RefreshToken),
            ("keys/gsk_canaryCanary01234".to_owned(), ApiKey),
            ("K=AQ.canary".to_owned(), ApiKey),
            ("/etc/key.json ya29.canary".to_owned(), AccessToken),
            ("/etc/key.json?access_token=ya29.canary".to_owned(), AccessToken),
            ("/etc/key.json?token=canary".to_owned(), Text),
            ("./ya29.canary".to_owned(), AccessToken),
            ("/AIzaSyCanaryCanaryCanary".to_owned(), ApiKey),
            (format!("/Td6WFoAAATm1rRGAgAhARYAAAB0L{}", "aB3/dE6fG7hJ8kL9mN0p".repeat(20)), Encoded),
            (format!("~/{}", "aB3dE6fG7hJ8kL9mN0pQ".repeat(12)), Text),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(), Text),
            ("MC4CAQAwBQYDK2VwBCIEIJ5r0Zc3qv0V5x7b/9s2Kd1mTq8Lw4Yp6Hn3Rf0Gz1Xk".to_owned(), Encoded),
            ("3f2a9c8e7b6d5f4a1c0e9b8d7a6f5c4e".to_owned(), Text),
            ("aB3~dE6fG7hJ8kL9mN0pQ2rS4".to_owned(), Text),
            (base64("refresh_token: 1//0x"), Encoded),
            (base64("api_key=\"sk-a\""), Encoded),
            ("a\nb".to_owned(), Text),
            ("x".repeat(256), Text),
            ("x/".repeat(2049), Text),
        ] {
            assert_eq!(check_path(&value), Err(expected), "{value}");
            let shown = shown_path(&value);
            assert!(!shown.to_ascii_lowercase().contains("canary") && shown.len() < 150, "{shown}");
        }
    }

    #[test]
    fn names_are_shown_and_secrets_are_not() {
        for name in ["my-project-123", "example.com:project-1", "us-central1", "openapi", "sk-team"] {
            assert_eq!(shown_name(name), name);
        }
        for secret in
            [KEY.to_owned(), base64(OTHER_KEY), "ya29.canary".to_owned(), "a\nb".to_owned(), "x".repeat(101)]
        {
            let shown = shown_name(&secret);
            assert!(shown.starts_with("[a value that is not shown") && !shown.contains("canary"), "{shown}");
        }
    }
}
