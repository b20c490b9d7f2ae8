//! Credentials without a client and without our HTTP: a program brings an exchange of its own.

use std::sync::Arc;

use vertex_chat_auth::{CredentialsOptions, Environment, TokenSource};
use vertex_chat_transport::{Always, Body, Exchange, Request, Response, SimulatedClock, TransportError};

#[derive(Debug)]
struct Own;

#[async_trait::async_trait]
impl Exchange for Own {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        assert_eq!(request.uri(), "https://oauth2.googleapis.com/token");
        Ok(Response::new(Body::from(r#"{"access_token":"ya29","expires_in":3599}"#)))
    }
}

fn main() {
    let login = br#"{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}"#;
    let options = CredentialsOptions::new(Arc::new(Always(Arc::new(Own))), Arc::new(SimulatedClock::new()))
        .with_environment(Environment::of::<&str, &str>([]));
    let credentials = options.from_json(login, "a login").expect("it is one");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let token = runtime.block_on(credentials.refresh()).expect("a token");
    assert_eq!(token.authorization(), "Bearer ya29");
    println!("a token, and no HTTP library");
}
