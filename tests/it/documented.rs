//! What Google's page and our own documents show, run as it stands: by curl, by the unmodified Python packages, by cargo.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::process::Command;

use serde_json::Value;
use vertex_chat_emulator::{Quirk, TGI_ENDPOINT, VLLM_ENDPOINT};
use vertex_chat_tests::process::{Emulate, Folder, Running, python, run, stderr, stdout};
use vertex_chat_tests::{absent, built, root, shared_json, tool};

/// The models of the page, by the part that fills `${MODEL_ID}`.
const MODELS: [&str; 2] = ["gemini-1.5-flash-001", "gemini-1.0-pro-vision"];

#[test]
fn the_four_rest_samples_work_by_curl() {
    let Some(samples) = shared_json("vectors/documented-samples.json") else { return };
    if Command::new("curl").arg("--version").output().is_err() {
        absent("curl", "install curl");
        return;
    }
    let emulate = Emulate::start("curl", &[]);
    let token = emulate.token();
    let samples = samples["rest"].as_array().unwrap();
    assert_eq!(samples.len(), 4);
    for sample in samples {
        for model in MODELS {
            for endpoint in [VLLM_ENDPOINT, TGI_ENDPOINT] {
                let fill = |text: &str| {
                    text.replace("https://${LOCATION}-aiplatform.googleapis.com", &emulate.url)
                        .replace("https://us-central1-aiplatform.googleapis.com", &emulate.url)
                        .replace("${LOCATION}", "us-central1")
                        .replace("${PROJECT_ID}", "my-project")
                        .replace("${MODEL_ID}", model)
                        .replace("${ENDPOINT}", endpoint)
                        .replace("${TOKEN}", &token)
                };
                let mut curl = Command::new("curl");
                curl.args(["--silent", "--show-error", "--fail-with-body", "--no-buffer", "-X", "POST"]);
                for (name, value) in sample["headers"].as_object().unwrap() {
                    curl.arg("-H").arg(fill(&format!("{name}: {}", value.as_str().unwrap())));
                }
                curl.arg(fill(sample["url"].as_str().unwrap()))
                    .arg("-d")
                    .arg(fill(&sample["body"].to_string()));
                let output = run(&mut curl, "");
                let (id, said) = (sample["id"].as_str().unwrap(), stdout(&output));
                assert!(output.status.success(), "{id}: {said}{}", stderr(&output));
                let text = if sample["body"]["stream"] == true {
                    assert!(said.ends_with("data: [DONE]\n\n"), "{id}: {said}");
                    let chunks = said.lines().filter_map(|line| line.strip_prefix("data: {"));
                    let chunks =
                        chunks.map(|json| serde_json::from_str::<Value>(&format!("{{{json}")).unwrap());
                    chunks
                        .map(|chunk| {
                            chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
                        })
                        .collect()
                } else {
                    let answer: Value = serde_json::from_str(&said).unwrap();
                    answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
                };
                assert!(text.contains("found the backpack"), "{id}: {text}");
            }
        }
    }
}

#[test]
fn the_parameters_of_the_page_are_all_taken_for_google_models() {
    let Some(samples) = shared_json("vectors/documented-samples.json") else { return };
    let parameters = samples["page"]["parameters_supported_for_google_models"].as_array().unwrap();
    assert_eq!(parameters.len(), 14);
    for parameter in parameters {
        let row = vertex_chat_params::parameter(parameter.as_str().unwrap()).expect("it is in the table");
        for dialect in
            [vertex_chat_params::Dialect::VertexGemini2, vertex_chat_params::Dialect::VertexGemini3]
        {
            assert_eq!(row.support(dialect), vertex_chat_params::Support::Taken, "{parameter}");
        }
    }
}

/// The blocks of a language in a document, in order.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

#[test]
fn every_block_of_the_python_document_runs() {
    let Some(interpreter) = tool("python/bin/python") else { return };
    let (emulate, folder) = (Emulate::start("python", &[]), Folder::new("python-blocks"));
    let base_url = emulate.base_url("v1beta1", "openapi");
    let blocks = blocks("docs/python.md", "python");
    assert_eq!(blocks.len(), 5);
    for (i, block) in blocks.iter().enumerate() {
        let script = folder.file(&format!("block-{i}.py"), block);
        let mut command = Command::new(&interpreter);
        command
            .arg(script)
            .env("GOOGLE_APPLICATION_CREDENTIALS", &emulate.key_file)
            .env("BASE_URL", &base_url)
            .env("OPENAI_BASE_URL", &base_url)
            .env("ENDPOINT_BASE_URL", emulate.base_url("v1beta1", VLLM_ENDPOINT))
            .env("OPENAI_API_KEY", emulate.token())
            // google-auth asks Google for allowed locations in the background, by a fixed address: nobody is there.
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env("NO_PROXY", "127.0.0.1");
        let output = run(&mut command, "");
        assert!(output.status.success(), "block {i}: {}", stderr(&output));
        assert!(stdout(&output).contains("found the backpack"), "block {i}: {}", stdout(&output));
    }
    let verified =
        emulate.log().iter().filter(|entry| entry["path"] == "/token" && entry["status"] == 200).count();
    assert!(verified >= 2, "google-auth's own assertions were verified");
}

#[test]
fn the_gateway_of_the_readme_answers() {
    let Some(interpreter) = tool("python/bin/python") else { return };
    let mut serve =
        vertex_chat_tests::process::vertex_chat(&["serve", "--emulator", "--listen", "127.0.0.1:0"]);
    let mut serving = Running::start(serve.stderr(std::process::Stdio::null()));
    let url = serving.line().replace("export OPENAI_BASE_URL=", "");
    let key = serving.line().replace("export OPENAI_API_KEY=", "");
    let blocks = blocks("README.md", "python");
    assert_eq!(blocks.len(), 1);
    let folder = Folder::new("readme");
    let mut python = Command::new(interpreter);
    python.arg(folder.file("readme.py", &blocks[0])).env("OPENAI_BASE_URL", url).env("OPENAI_API_KEY", key);
    let output = run(python.env("NO_PROXY", "127.0.0.1"), "");
    assert!(stdout(&output).contains("found the backpack"), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn the_configurations_of_the_operations_page_are_good() {
    let blocks = blocks("docs/operations.md", "toml");
    assert!(!blocks.is_empty());
    for block in blocks {
        vertex_chat_gateway::Config::parse("operations.md", &block)
            .unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
}

#[test]
fn the_operations_page_names_every_repair() {
    let page = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for repair in vertex_chat_gateway::Repair::ALL {
        assert!(page.contains(&format!("`{}`", repair.name())), "{}", repair.name());
    }
}

#[test]
fn unmodified_clients_read_what_the_emulator_sends() {
    let Some(mut script) = python("clients.py") else { return };
    let emulate = Emulate::start("clients", &[]);
    script.env("BASE_URL", emulate.base_url("v1", "openapi")).env("TOKEN", emulate.token());
    let output = run(&mut script, "");
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));

    let Some(folder) = tool("node/node_modules/openai") else { return };
    let mut node = Command::new("node");
    node.arg(root().join("tests/node/clients.mjs")).arg(folder);
    let output =
        run(node.env("BASE_URL", emulate.base_url("v1", "openapi")).env("TOKEN", emulate.token()), "");
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn every_place_of_the_credentials_page_gets_to_a_model() {
    if Command::new("curl").arg("--version").output().is_err() {
        absent("curl", "install curl");
        return;
    }
    let page = std::fs::read_to_string(root().join("docs/credentials.md")).unwrap();
    let blocks: Vec<&str> = page.split("```sh\n").skip(1).map(|it| it.split_once("```").unwrap().0).collect();
    assert_eq!(blocks.len(), 7, "a laptop, Google's machines, AWS, Azure, GitHub, a file, a key");
    let emulate = Emulate::start("credentials-page", &[]);
    let program = vertex_chat_tests::program();
    for block in blocks {
        let folder = Folder::new("place");
        // As the program is started everywhere in these tests: without anything of this environment.
        let mut shell = vertex_chat_tests::process::vertex_chat(&[]);
        let variables: Vec<_> = shell.get_envs().map(|(name, _)| name.to_owned()).collect();
        shell = Command::new("sh");
        for name in variables {
            shell.env_remove(name);
        }
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        shell.args(["-eu", "-c", block]).current_dir(folder.path("")).env("PATH", path);
        shell.env("EMULATOR", &emulate.url).env("HOME", folder.path("home"));
        let output = run(&mut shell, "");
        assert!(output.status.success(), "{block}\n{}{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).contains("hello"), "{block}\n{}", stdout(&output));
    }
}

#[test]
fn the_credentials_page_names_every_variable() {
    let page = std::fs::read_to_string(root().join("docs/credentials.md")).unwrap();
    for (name, why) in vertex_chat::auth::VARIABLES_NOT_READ {
        let why =
            why.replace("GCE_METADATA_HOST", "`GCE_METADATA_HOST`").replace("NO_GCE_CHECK", "`NO_GCE_CHECK`");
        assert!(page.contains(&format!("| `{name}` | {why} |")), "{name}: {why}");
    }
}

/// Runs an example of the facade against the emulator.
fn example(name: &str, arguments: &[&str], emulate: &Emulate) -> (String, String) {
    let mut program = Command::new(built("--example", name));
    program
        .args(arguments)
        .env("GOOGLE_APPLICATION_CREDENTIALS", &emulate.key_file)
        .env("GOOGLE_CLOUD_LOCATION", "us-central1")
        .env_remove("OPENAI_API_KEY")
        .env_remove("OPENAI_BASE_URL");
    if name != "endpoint" {
        program.env("OPENAI_BASE_URL", emulate.base_url("v1", "openapi"));
    }
    let output = run(&mut program, "");
    assert!(output.status.success(), "{name}: {}", stderr(&output));
    (stdout(&output), stderr(&output))
}

#[test]
fn every_example_runs_against_the_emulator() {
    let emulate = Emulate::start("examples", &[]);
    let (text, said) = example("chat", &["hello"], &emulate);
    assert!(text.contains("says: hello") && said.contains("dropped `user`"), "{text}{said}");
    let (text, said) = example("stream", &[], &emulate);
    assert!(text.contains("found the backpack") && said.contains("ended because of stop"), "{text}{said}");
    let (text, said) = example("tools", &[], &emulate);
    assert!(said.contains("calls get_current_weather({\"place\":\"example\"})"), "{said}");
    assert!(text.contains("answered: {\"celsius\":21,\"place\":\"example\",\"sky\":\"clear\"}"), "{text}");
    let (text, _) = example("image", &["gs://bucket/cat.png"], &emulate);
    assert!(text.contains("with gs://bucket/cat.png"), "{text}");
    let (text, _) = example("endpoint", &[VLLM_ENDPOINT, &emulate.url], &emulate);
    assert!(text.contains("found the backpack"), "{text}");
    let paths: Vec<String> =
        emulate.log().iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect();
    assert!(paths.last().unwrap().contains(VLLM_ENDPOINT), "{paths:?}");
}

#[test]
fn the_emulators_page_names_every_quirk() {
    let page = std::fs::read_to_string(root().join("docs/emulator.md")).unwrap();
    for quirk in Quirk::ALL {
        let row = format!("| `{quirk}` | {} | {} |\n", quirk.sentence(), quirk.origin());
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn the_emulators_page_names_every_reported_refusal() {
    let page = std::fs::read_to_string(root().join("docs/emulator.md")).unwrap();
    for (what, reports) in vertex_chat_emulator::REFUSALS {
        assert!(page.contains(&format!("| {what} | {reports} |\n")), "{what}");
    }
}
