//! The emulator's service account: a key made afresh, and the check of what it signs.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value, json};

/// A service account and its key.
pub(crate) struct Account {
    pub(crate) email: String,
    pub(crate) key_id: String,
    project: String,
    private_key_pem: Option<String>,
    pair: Option<KeyPair>,
    public_key: DecodingKey,
}

/// What stands in an assertion, once its signature is known to be good.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) claims: Map<String, Value>,
}

/// Why an assertion is not good.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unverified {
    /// It is not a token of three parts with RS256.
    NotAToken,
    /// It is, but this key did not sign it.
    BadSignature,
}

impl Account {
    /// An account with a new key of 2,048 bits. Takes some 100 ms.
    pub(crate) fn generate(project: &str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("because there is enough randomness");
        let pkcs8: Pkcs8V1Der<'static> = pair.as_der().expect("because the key was just made");
        let public = pair.public_key().as_ref();
        // Google's key ids are 40 hexadecimal digits; any part of the public key will do.
        let key_id: String =
            public[public.len() - 25..public.len() - 5].iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            email: format!("emulator@{project}.iam.gserviceaccount.com"),
            key_id,
            project: project.to_owned(),
            private_key_pem: Some(pem("PRIVATE KEY", pkcs8.as_ref())),
            public_key: DecodingKey::from_rsa_der(public),
            pair: Some(pair),
        }
    }

    /// An account whose private key is elsewhere: only checks.
    pub(crate) fn of_public_key(
        email: &str,
        key_id: &str,
        project: &str,
        public_key_pkcs1_der: &[u8],
    ) -> Self {
        Self {
            email: email.to_owned(),
            key_id: key_id.to_owned(),
            project: project.to_owned(),
            private_key_pem: None,
            pair: None,
            public_key: DecodingKey::from_rsa_der(public_key_pkcs1_der),
        }
    }

    /// The key file, as Google's console makes it.
    pub(crate) fn key_file(&self, token_uri: &str) -> Option<String> {
        let email = &self.email;
        let file = json!({
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": self.key_id,
            "private_key": self.private_key_pem.as_ref()?,
            "client_email": email,
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": format!("https://www.googleapis.com/robot/v1/metadata/x509/{email}"),
            "universe_domain": "googleapis.com",
        });
        Some(serde_json::to_string_pretty(&file).expect("because it is JSON"))
    }

    /// Signs bytes with RSA and SHA-256; `None` when the key is elsewhere.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let pair = self.pair.as_ref()?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature).ok()?;
        Some(signature)
    }

    /// A token of these claims, signed.
    pub(crate) fn jwt(&self, claims: &str) -> Option<String> {
        let header = json!({"alg": "RS256", "kid": self.key_id, "typ": "JWT"}).to_string();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes())?);
        Some(format!("{signed}.{signature}"))
    }

    /// Checks form, algorithm, key id and signature of a token: RS256 and nothing else.
    pub(crate) fn verify(&self, token: &str) -> Result<Verified, Unverified> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Unverified::NotAToken);
        };
        let signed = &token[..header.len() + 1 + claims.len()];
        let (header, claims) = (object(header)?, object(claims)?);
        if header.get("alg").and_then(Value::as_str) != Some("RS256") {
            return Err(Unverified::NotAToken);
        }
        if header.get("kid").is_some_and(|kid| kid.as_str() != Some(&self.key_id)) {
            return Err(Unverified::BadSignature);
        }
        let signature = decode(signature)?;
        // The provider is named: what the process has by default depends on other crates.
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&Algorithm::RS256, &self.public_key);
        let good = verifier.is_ok_and(|verifier| verifier.verify(signed.as_bytes(), &signature).is_ok());
        if good { Ok(Verified { claims }) } else { Err(Unverified::BadSignature) }
    }
}

/// Base64 for URLs. Padding is against RFC 7515, but some clients sign and send it.
fn decode(part: &str) -> Result<Vec<u8>, Unverified> {
    URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).map_err(|_| Unverified::NotAToken)
}

fn object(part: &str) -> Result<Map<String, Value>, Unverified> {
    serde_json::from_slice(&decode(part)?).map_err(|_| Unverified::NotAToken)
}

fn pem(label: &str, der: &[u8]) -> String {
    const LINE: usize = 64;
    let base64 = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(LINE) {
        text.push_str(std::str::from_utf8(line).expect("because base64 is ASCII"));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
