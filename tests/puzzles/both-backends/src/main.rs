//! Both backends of jsonwebtoken and of rustls are on: what relies on the process's default panics, we do not (point 15 of
//! the acceptance list for credentials).

use std::panic::catch_unwind;
use std::sync::Arc;

use vertex_chat::transport::{Connector, HttpConnector, Profile, Request, SystemClock};
use vertex_chat::{ChatRequest, Client, Message};
use vertex_chat_emulator::{Emulator, LOCATION};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Signing and verifying.
    let emulator = Emulator::new(Arc::new(SystemClock)).start("127.0.0.1:0".parse()?).await?;
    let client = Client::builder()
        .location(LOCATION)
        .host(emulator.base_url())
        .credentials_json(emulator.service_account_json())
        .build()?;
    let answer = client.chat(ChatRequest::new("google/gemini-2.5-flash", [Message::user("hello")])).await?;
    assert!(!answer.text().is_empty());

    // TLS: nobody is at the port, but the configuration has been made.
    let exchange = HttpConnector::new().connect(&Profile::Public)?;
    let mut request = Request::new("".into());
    *request.uri_mut() = "https://localhost:1/".parse()?;
    let error = exchange.send(request).await.expect_err("nobody is there");
    assert!(error.to_string().contains("refused"), "{error}");

    // The puzzle is one: what takes the process's default panics here. And we have installed none.
    std::panic::set_hook(Box::new(|_| {}));
    let header = jsonwebtoken::Header::default();
    let signed = catch_unwind(|| jsonwebtoken::encode(&header, &1, &jsonwebtoken::EncodingKey::from_secret(b"x")));
    assert!(signed.is_err(), "jsonwebtoken's own default panics with both backends on");
    assert!(rustls::crypto::CryptoProvider::get_default().is_none(), "no provider was installed");
    println!("both backends: nothing of ours panics");
    emulator.stop().await;
    Ok(())
}
