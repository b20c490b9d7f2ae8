//! A token that is at hand, asked for again and again: `bench-tokens ours|gcloud-auth N`. Both have a service account's key
//! and get their token from the emulator, over TCP.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gcloud_auth::credentials::CredentialsFile;
use gcloud_auth::project::Config;
use gcloud_auth::token::DefaultTokenSourceProvider;
use token_source::TokenSourceProvider;
use vertex_chat_auth::{CredentialsOptions, Environment, TokenSource};
use vertex_chat_emulator::Emulator;
use vertex_chat_transport::{HttpConnector, SystemClock};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [whose, count] = arguments.as_slice() else { panic!("whose, and how often") };
    let count: usize = count.parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = "127.0.0.1:0".parse().expect("an address");
    let running = runtime.block_on(Emulator::new(Arc::new(SystemClock)).start(address)).expect("an emulator");
    let key = running.service_account_json();
    let length = match whose.as_str() {
        "ours" => {
            let options = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(SystemClock))
                .with_environment(Environment::of::<&str, &str>([]));
            let credentials = options.from_json(key.as_bytes(), "the emulator").expect("credentials");
            runtime.block_on(credentials.refresh()).expect("a token");
            measured_ours(&credentials, count)
        }
        _ => {
            let source = runtime.block_on(theirs(&key));
            measured_theirs(&*source, count)
        }
    };
    println!("{length}");
}

async fn theirs(key: &str) -> Arc<dyn token_source::TokenSource> {
    let file = CredentialsFile::new_from_str(key).await.expect("credentials");
    let config = Config::default().with_scopes(&["https://www.googleapis.com/auth/cloud-platform"]);
    let provider =
        DefaultTokenSourceProvider::new_with_credentials(config, Box::new(file)).await.expect("a source");
    let source = provider.token_source();
    source.token().await.expect("a token");
    source
}

// Callgrind counts inside of functions of such a name only. Both are outside of the runtime: a token that is at hand is
// ready when it is asked for.

#[inline(never)]
fn measured_ours(source: &dyn TokenSource, count: usize) -> usize {
    let mut length = 0;
    for _ in 0..count {
        let token = black_box(source).cached().expect("it is at hand");
        length = black_box(token.authorization()).len();
    }
    length
}

#[inline(never)]
fn measured_theirs(source: &dyn token_source::TokenSource, count: usize) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    let mut length = 0;
    for _ in 0..count {
        let mut asking = black_box(source).token();
        let Poll::Ready(token) = asking.as_mut().poll(&mut context) else { panic!("it is at hand") };
        length = black_box(&token.expect("it is at hand")).len();
    }
    length
}
