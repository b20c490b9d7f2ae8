//! Google's own libraries, unmodified, with credential files of every kind, against the emulator behind its proxy.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use vertex_chat::transport::SystemClock;
use vertex_chat_emulator::{Emulator, Identity, LOCATION, PROJECT, RunningEmulator, RunningProxy};
use vertex_chat_tests::certificates::Certificates;
use vertex_chat_tests::process::{Folder, python, run, stderr, stdout};
use vertex_chat_tests::{root, tool};

struct Google {
    running: RunningEmulator,
    proxy: RunningProxy,
    folder: Folder,
}

impl Google {
    async fn start(name: &str) -> Self {
        let running =
            Emulator::new(Arc::new(SystemClock)).start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let proxy = running.start_proxy().await.unwrap();
        let folder = Folder::new(name);
        std::fs::create_dir(folder.path("files")).unwrap();
        let _ = folder.file("authority.pem", proxy.authority_pem());
        Self { running, proxy, folder }
    }

    /// Writes a credential file with Google's own addresses in it.
    fn write(&self, name: &str, json: &str) {
        let base = self.running.base_url();
        let json = json
            .replace(&format!("{base}/v1/token"), "https://sts.googleapis.com/v1/token")
            .replace(&format!("{base}/v1/oauthtoken"), "https://sts.googleapis.com/v1/oauthtoken")
            .replace(
                &format!("{base}/v1/projects/-/"),
                "https://iamcredentials.googleapis.com/v1/projects/-/",
            )
            .replace(&format!("{base}/token"), "https://oauth2.googleapis.com/token");
        let _ = self.folder.file(&format!("files/{name}.json"), json);
    }

    fn write_all(&self) {
        let (emulator, base) = (self.running.emulator(), self.running.base_url());
        let token = self.folder.file("subject-token", emulator.subject_token()).display().to_string();
        let answer = json!({"version": 1, "success": true, "id_token": emulator.subject_token(),
            "token_type": "urn:ietf:params:oauth:token-type:id_token", "expiration_time": 4_102_444_800_u64});
        let program = self.folder.file("program.sh", format!("#!/bin/sh\necho '{answer}'\n"));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let identities = [
            ("file", Identity::File(token.clone())),
            ("url", Identity::Url),
            ("azure", Identity::Azure),
            ("github", Identity::GitHub),
            ("aws", Identity::Aws),
            ("workforce", Identity::Workforce(token)),
            ("executable", Identity::Executable(program.display().to_string())),
        ];
        for (name, identity) in identities {
            for as_account in [false, true] {
                let name = format!("{name}{}", if as_account { "-as-account" } else { "" });
                let file = emulator.external_account_json(&base, &identity, as_account);
                self.write(&name, &file);
            }
        }
        // A client certificate is shown to the hosts for that; the proxy asks for none, so the subject token is what counts.
        // Google's Node library goes past a proxy then.
        let certificates = Certificates::new();
        let (certificate, key) = certificates.leaf("workload");
        let pair = [("cert_path", certificate.pem()), ("key_path", key.serialize_pem())];
        let paths: serde_json::Map<String, Value> = pair
            .into_iter()
            .map(|(name, pem)| {
                let path = self.folder.file(&format!("{name}.pem"), pem);
                (name.to_owned(), path.display().to_string().into())
            })
            .collect();
        let config = json!({"version": 1, "cert_configs": {"workload": paths}});
        let config = self.folder.file("certificate_config.json", config.to_string()).display().to_string();
        let file = emulator.external_account_json(&base, &Identity::Certificate(config), false);
        self.write(
            "python-certificate",
            &file.replace(&format!("{base}/v1/token"), "https://sts.mtls.googleapis.com/v1/token"),
        );

        let (key, login) = (self.running.service_account_json(), emulator.authorized_user_json(&base));
        self.write("service-account", &key);
        self.write("authorized-user", &login);
        self.write(
            "external-account-authorized-user",
            &emulator.external_account_authorized_user_json(&base),
        );
        self.write(
            "impersonated-by-login",
            &emulator.impersonated_service_account_json(&base, &login, false),
        );
        self.write("impersonated-by-key", &emulator.impersonated_service_account_json(&base, &key, true));
        // Google's Python library takes no federated identity as a source.
        let federated: Value =
            serde_json::from_str(&emulator.external_account_json(&base, &Identity::Url, false)).unwrap();
        let file = emulator.impersonated_service_account_json(&base, &federated.to_string(), false);
        self.write("node-impersonated-by-identity", &file);
    }

    fn run(self, mut command: Command) -> String {
        let authority = self.folder.path("authority.pem");
        for name in
            ["https_proxy", "HTTP_PROXY", "http_proxy", "GOOGLE_APPLICATION_CREDENTIALS", "GCLOUD_PROJECT"]
        {
            command.env_remove(name);
        }
        command
            .env("HTTPS_PROXY", self.proxy.url())
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("REQUESTS_CA_BUNDLE", &authority)
            .env("NODE_EXTRA_CA_CERTS", &authority)
            .env("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
            .env("NO_GCE_CHECK", "true")
            .env("HOME", "/nowhere");
        let output = run(&mut command, "");
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }
}

fn expected(printed: &str, also: &[&str]) {
    let mut names: Vec<String> = ["file", "url", "azure", "github", "aws", "workforce", "executable"]
        .iter()
        .flat_map(|name| [(*name).to_owned(), format!("{name}-as-account")])
        .collect();
    names.extend(
        [
            "service-account",
            "authorized-user",
            "external-account-authorized-user",
            "impersonated-by-login",
            "impersonated-by-key",
        ]
        .iter()
        .chain(also)
        .map(|it| (*it).to_owned()),
    );
    for name in names {
        assert!(printed.lines().any(|line| line == name), "{name} is missing in {printed}");
    }
}

#[tokio::test]
async fn acceptance_17_googles_python_library_gets_tokens_in_every_flow_and_talks_to_a_model() {
    let Some(mut command) = python("credentials.py") else { return };
    let google = Google::start("google-auth").await;
    google.write_all();
    command.arg(google.folder.path("files")).args([PROJECT, LOCATION]);
    let printed = tokio::task::spawn_blocking(move || google.run(command)).await.unwrap();
    let also = [
        "python-certificate",
        "self-signed scopes",
        "self-signed audience",
        "signBlob",
        "generateIdToken",
        "target_audience",
        "project of a number",
    ];
    expected(&printed, &also);
}

#[tokio::test]
async fn acceptance_17_googles_node_library_gets_tokens_in_every_flow_and_talks_to_a_model() {
    let Some(library) = tool("node/node_modules/google-auth-library") else { return };
    let google = Google::start("google-auth-library").await;
    google.write_all();
    let mut command = Command::new("node");
    command
        .arg(root().join("tests/node/credentials.mjs"))
        .arg(library)
        .env("METADATA_SERVER_DETECTION", "none");
    command.arg(google.folder.path("files")).args([PROJECT, LOCATION]);
    let printed = tokio::task::spawn_blocking(move || google.run(command)).await.unwrap();
    expected(&printed, &["node-impersonated-by-identity", "signBlob", "generateIdToken"]);
}

#[tokio::test]
async fn acceptance_17_googles_node_library_takes_the_emulator_for_a_machine_of_googles() {
    let Some(library) = tool("node/node_modules/google-auth-library") else { return };
    let google = Google::start("node-metadata").await;
    let mut command = Command::new("node");
    command.arg(root().join("tests/node/metadata.mjs")).arg(library).args([PROJECT, LOCATION]);
    command.env("GCE_METADATA_HOST", google.running.address().to_string());
    let emulator = google.running.emulator().clone();
    let printed = tokio::task::spawn_blocking(move || google.run(command)).await.unwrap();
    assert!(printed.contains("backpack"), "{printed}");
    let paths: Vec<String> = emulator.log().iter().map(|it| it.path.clone()).collect();
    assert!(paths.iter().any(|it| it.ends_with("/service-accounts/default/token")), "{paths:?}");
}
