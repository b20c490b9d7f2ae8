//! An RSA key that signs.

use aws_lc_rs::rsa::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::AuthError;

/// The smallest key that signs, in bits; what Google makes.
const KEY_BITS_MIN: usize = 2048;
/// The largest.
const KEY_BITS_MAX: usize = 8192;

/// Signs JSON Web Tokens with RS256.
///
/// The cryptography is jsonwebtoken's provider over aws-lc-rs, named here and never taken from the process: which
/// provider a process has depends on what other crates switched on, and with none or two jsonwebtoken panics.
pub(crate) struct Signer(EncodingKey);

impl Signer {
    /// Reads a key in PEM, PKCS#8 (`BEGIN PRIVATE KEY`) or PKCS#1 (`BEGIN RSA PRIVATE KEY`).
    ///
    /// As people paste it, too: with `\n` as two characters, in quotes, or on one line.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, AuthError> {
        let not_a_key = || {
            let (what, remedy) = cause(pem);
            AuthError::configuration(format!("the private key is not an RSA key in PEM: {what}"))
                .with_remedy(remedy)
        };
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).or_else(|_| {
            let lines = Zeroizing::new(in_lines(pem).ok_or_else(not_a_key)?);
            PrivateKeyDer::from_pem_slice(lines.as_bytes()).map_err(|_| not_a_key())
        })?;
        let (pair, pkcs1) = match &der {
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                (KeyPair::from_pkcs8(der), pkcs1_of_pkcs8(der).ok_or_else(not_a_key)?)
            }
            PrivateKeyDer::Pkcs1(der) => {
                let der = der.secret_pkcs1_der();
                (KeyPair::from_der(der), der)
            }
            _ => return Err(not_a_key()),
        };
        let bits = pair.map_err(|_| not_a_key())?.public_modulus_len() * 8;
        if !(KEY_BITS_MIN..=KEY_BITS_MAX).contains(&bits) {
            let message = format!("the private key has {bits} bits, not {KEY_BITS_MIN} to {KEY_BITS_MAX}");
            return Err(AuthError::configuration(message));
        }
        Ok(Self(EncodingKey::from_rsa_der(pkcs1)))
    }

    /// The RS256 signature of these bytes.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Result<Vec<u8>, AuthError> {
        (DEFAULT_PROVIDER.signer_factory)(&Algorithm::RS256, &self.0)
            .ok()
            .and_then(|signer| signer.try_sign(bytes).ok())
            .ok_or_else(|| AuthError::configuration("the private key does not sign"))
    }

    /// A signed token of this header and these claims, in compact form.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> Result<String, AuthError> {
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
        let signature = self.sign_bytes(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Writes the key in a text anew, in lines of PEM. `None` when the text has no key, or several.
fn in_lines(pasted: &str) -> Option<String> {
    let (_, rest) = pasted.split_once(BEGIN)?;
    let (label, rest) = rest.split_once(DASHES)?;
    let (body, rest) = rest.split_once(END)?;
    let (end, after) = rest.split_once(DASHES)?;
    if label != end || after.contains(BEGIN) {
        return None;
    }
    // Line ends as two characters, or as more where they were escaped again.
    let mut lines = format!("{BEGIN}{label}{DASHES}\n");
    let mut digits = body.chars().peekable();
    let mut count = 0;
    while let Some(digit) = digits.next() {
        match digit {
            '\\' => {
                while digits.next_if_eq(&'\\').is_some() {}
                digits.next_if(|it| "nrt".contains(*it))?;
            }
            '"' | '\'' => {}
            it if it.is_whitespace() => {}
            it => {
                lines.push(it);
                count += 1;
                if count % 64 == 0 {
                    lines.push('\n');
                }
            }
        }
    }
    lines.push_str(&format!("\n{END}{label}{DASHES}\n"));
    Some(lines)
}

/// Why a text is no key that signs, and what to do.
fn cause(pem: &str) -> (&'static str, &'static str) {
    const AGAIN: &str = "take the field `private_key` as it is in the downloaded file";
    let label = pem.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(DASHES)).map(|it| it.0);
    match label {
        None if pem.contains("PRIVATE KEY") => ("its first line is damaged", AGAIN),
        None => ("it has no line `-----BEGIN PRIVATE KEY-----`", AGAIN),
        Some("ENCRYPTED PRIVATE KEY") => {
            ("it is encrypted", "decrypt it: `openssl pkcs8 -in KEY -out KEY.pem`")
        }
        Some("CERTIFICATE") => ("it is a certificate", AGAIN),
        Some("PUBLIC KEY" | "RSA PUBLIC KEY") => ("it is a public key", AGAIN),
        Some("EC PRIVATE KEY") => ("it is an EC key", "Google's service accounts have RSA keys"),
        Some("OPENSSH PRIVATE KEY") => ("it is a key of OpenSSH", AGAIN),
        Some("PRIVATE KEY" | "RSA PRIVATE KEY") if !pem.contains(END) => {
            ("its end is missing; it was cut off", AGAIN)
        }
        Some("PRIVATE KEY" | "RSA PRIVATE KEY") => {
            ("what is between its first and its last line is damaged", AGAIN)
        }
        Some(_) => ("it is something else in PEM", AGAIN),
    }
}

/// The PKCS#1 key inside a PKCS#8 one: the octet string that is its third element (RFC 5208, section 5). jsonwebtoken
/// takes PKCS#1 only, and reads PKCS#8 by a dozen more crates.
fn pkcs1_of_pkcs8(der: &[u8]) -> Option<&[u8]> {
    const INTEGER: u8 = 0x02;
    const OCTET_STRING: u8 = 0x04;
    const SEQUENCE: u8 = 0x30;
    let (info, _) = element(der, SEQUENCE)?;
    let (_version, rest) = element(info, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (key, _attributes) = element(rest, OCTET_STRING)?;
    Some(key)
}

/// A DER element of this tag: its content, and what comes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (len, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        // The length of an RSA key fits in two or three bytes.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for pem in ["", "canary", "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"] {
            let error = Signer::from_pem(pem).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("not an RSA key"), "{error}");
            assert!(!format!("{error}{error:?}").contains("canary"), "{error}");
        }
    }

    #[test]
    fn der_that_lies_about_its_length_is_no_key() {
        for der in
            [&[0x30][..], &[0x30, 0x05, 0x02], &[0x30, 0x84, 1, 1, 1, 1], &[0x30, 0x83, 0xFF, 0xFF, 0xFF]]
        {
            assert_eq!(pkcs1_of_pkcs8(der), None);
        }
    }
}
