//! An RSA key that signs.

use aws_lc_rs::rsa::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

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
    pub(crate) fn from_pem(pem: &str) -> Result<Self, AuthError> {
        let not_a_key = || {
            AuthError::configuration("the private key is not an RSA key in PEM").with_remedy(
                "it begins with `-----BEGIN PRIVATE KEY-----`; its line ends may be written as \\n",
            )
        };
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| not_a_key())?;
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
