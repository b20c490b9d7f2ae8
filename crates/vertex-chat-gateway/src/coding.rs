//! Bodies that clients have compressed (RFC 9110, section 8.4).

use std::io::Read;

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use vertex_chat_transport::BodyPermit;

use crate::call::{WORD_CHARS_MAX, shown};
use crate::fault::Fault;

/// The most codings of one body, one in the other.
const CODINGS_MAX: usize = 2;
/// A body may become so many times as large as it came. The texts of conversations mostly become up to ten times as large. A client
/// pays nothing for a body that grows more, and the gateway pays for decoding it.
const GROWTH_MAX: usize = 50;
/// Up to this size a body may grow as it likes, in bytes.
const GROWTH_FREE_BYTES: usize = 4 << 20;
/// How much is decoded before its room is asked for, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// A coding that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    /// By the RFC with zlib's head; some clients send it without.
    Deflate,
}

/// The codings of a body, in the order in which they were applied.
pub(crate) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Fault> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let names =
        values.flat_map(|it| it.to_str().unwrap_or("?").split(',')).map(|it| it.trim().to_ascii_lowercase());
    let names: Vec<String> = names.filter(|it| !it.is_empty() && it != "identity").collect();
    let refused =
        |what: String| Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", what);
    if names.len() > CODINGS_MAX {
        return Err(refused("the body has too many codings, one in the other; send it as it is".to_owned()));
    }
    let known = |name: &String| match name.as_str() {
        "gzip" | "x-gzip" => Ok(Coding::Gzip),
        "deflate" => Ok(Coding::Deflate),
        other => Err(refused(format!(
            "the body has the content coding `{}`, which is not read; send it as it is, or in `gzip` or `deflate`",
            shown(other, WORD_CHARS_MAX)
        ))),
    };
    names.iter().map(known).collect()
}

/// The body without its codings, no larger than this. The permit is for it.
pub(crate) fn decoded(
    body: Bytes,
    codings: &[Coding],
    bytes_max: usize,
    permit: &mut BodyPermit,
) -> Result<Bytes, Fault> {
    let grown_max = body.len().saturating_mul(GROWTH_MAX).max(GROWTH_FREE_BYTES);
    let mut body = body;
    for coding in codings.iter().rev() {
        let is_zlib = body.first().is_some_and(|it| it & 0x0f == 8)
            && body.len() > 1
            && u16::from_be_bytes([body[0], body[1]]).is_multiple_of(31);
        let mut reader: Box<dyn Read + '_> = match coding {
            Coding::Gzip => Box::new(MultiGzDecoder::new(&body[..])),
            Coding::Deflate if is_zlib => Box::new(ZlibDecoder::new(&body[..])),
            Coding::Deflate => Box::new(DeflateDecoder::new(&body[..])),
        };
        let mut out = Vec::new();
        loop {
            permit
                .resize(body.len() + out.len() + PIECE_BYTES)
                .map_err(|room| Fault::no_room(room, "the request"))?;
            let read = reader.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut out).map_err(|error| {
                let message = format!("the body is not in the coding that `content-encoding` names: {error}");
                Fault::new(StatusCode::BAD_REQUEST, "invalid_content_encoding", message)
            })?;
            if out.len() > bytes_max {
                let message = format!("the request body is larger than {bytes_max} bytes once it is decoded");
                return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message));
            }
            if out.len() > grown_max {
                let message = format!(
                    "the request body becomes more than {GROWTH_MAX} times as large once it is decoded; send it as it is"
                );
                return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message));
            }
            if read == 0 {
                break;
            }
        }
        drop(reader);
        body = Bytes::from(out);
    }
    permit.resize(body.len()).map_err(|room| Fault::no_room(room, "the request"))?;
    Ok(body)
}
