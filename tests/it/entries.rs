//! The entry points of the fuzz targets under proptest: on noise, and on recorded traffic with bytes changed.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use vertex_chat_tests::{entries, root, shared};

const ENTRIES: [fn(&[u8]); 11] = [
    entries::types,
    entries::sse,
    entries::schema,
    entries::errors,
    entries::prepare,
    entries::costly,
    entries::credentials,
    entries::tokens,
    entries::executable,
    entries::conformance,
    entries::compare,
];

/// Texts to begin from: a few of our own, and recorded ones where they are.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let own = [
        r#"{"model":"gemini-3-flash","messages":[{"role":"user","content":[{"type":"image_url","image_url":"gs://b/o"}]}],"google":{"x":1}}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]}}]}"#,
        r##"{"type":"object","properties":{"a":{"allOf":[{"$ref":"#/$defs/A"},{"const":1}]}},"$defs":{"A":{"enum":["a",null]}}}"##,
        r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"@type":"x.RetryInfo","retryDelay":"3s"}]}}]"#,
        r#"{"type":"authorized_user","client_id":"c","client_secret":"a secret of the client","refresh_token":"r","quota_project_id":"p"}"#,
        r#"{"type":"external_account","audience":"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q","subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"https://sts.googleapis.com/v1/token","credential_source":{"url":"http://127.0.0.1/","headers":{"a":"b"},"format":{"type":"json","subject_token_field_name":"t"}},"service_account_impersonation_url":"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b:generateAccessToken","service_account_impersonation":{"token_lifetime_seconds":600}}"#,
        r#"{"type":"impersonated_service_account","delegates":["projects/-/serviceAccounts/d@b"],"service_account_impersonation_url":"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b:generateAccessToken","source_credentials":{"type":"external_account_authorized_user","client_id":"c","client_secret":"s","refresh_token":"r","token_url":"https://sts.googleapis.com/v1/oauthtoken"}}"#,
        r#"0{"access_token":"t","expires_in":"3599","refresh_token":"another"}"#,
        r#"1{"accessToken":"t","expireTime":"2026-01-01T01:00:00.5+01:00"}"#,
        r#"6{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#,
        r#"{"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:saml2","saml_response":"s","expiration_time":1767225601}"#,
        r#"{"version":1,"success":false,"code":"401","message":"no"}"#,
        "id = \"case\"\ntitle = \"t\"\nrule = \"r\"\nsource = \"s\"\nlevel = \"strict\"\nprofiles = [\"any\"]\nbreaks = \"b\"\n[request]\nexchange = \"hello\"\nexpect = [{ at = \"body.choices[0]|json\", is = 1 }]\n[[mutant]]\nname = \"m\"\nedit = [{ on = \"chunk\", set = \"a[*]\", to_json = \"null\" }]\n",
        "event: a\ndata: {\"choices\":[]}\r\n\r\ndata: [DONE]\n\n{\"error\":1}",
    ];
    let mut seeds: Vec<Vec<u8>> = own.iter().map(|it| it.as_bytes().to_vec()).collect();
    seeds.push(std::fs::read(root().join("tests/data/parameter-expectations.json")).unwrap());
    if let Some(folder) = shared("corpus") {
        let index = std::fs::read_to_string(folder.join("index.jsonl")).unwrap();
        for line in index.lines().step_by(23) {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            for name in [&entry["request"], &entry["response"]].into_iter().filter_map(|it| it.as_str()) {
                seeds.extend(std::fs::read(folder.join(name)).ok().filter(|it| it.len() < 20_000));
            }
        }
    }
    seeds
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn acceptance_14_noise_breaks_no_promise(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for entry in ENTRIES {
            entry(&bytes);
        }
    }

    #[test]
    fn no_plan_makes_a_request_cost_more_than_it_may(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        entries::costly(&bytes);
    }

    #[test]
    fn acceptance_14_changed_bytes_break_no_promise(
        seed in any::<Index>(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), 0_u8..3), 0..6),
    ) {
        let mut bytes = SEEDS[seed.index(SEEDS.len())].clone();
        for (place, byte, kind) in changes {
            let at = place.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match kind {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.drain(at..(at + usize::from(byte) % 16).min(bytes.len()))),
            }
        }
        for entry in ENTRIES {
            entry(&bytes);
        }
    }
}
