//! A server that knows the protocol and no model: it says what would become of a request on each kind of server. Types and
//! parameters only; what is between them and the socket is the standard library.
//! `cargo run -p vertex-chat-params --example server`, then
//! `curl -d '{"model":"gemini-2.5-flash","messages":[{"role":"user","content":"hi"}],"user":"u"}' http://127.0.0.1:PORT/`

#![allow(clippy::print_stdout, reason = "an example talks to a terminal")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use vertex_chat_params::{Dialect, Target, prepare_json};
use vertex_chat_types::{Extra, Json};

/// The largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("http://{}", listener.local_addr()?);
    for connection in listener.incoming() {
        // One at a time: it is an example.
        if let Err(error) = serve(&connection?) {
            println!("{error}");
        }
    }
    Ok(())
}

fn serve(mut connection: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(connection).take(2 * REQUEST_BYTES_MAX as u64);
    let mut length = 0;
    let mut line = String::new();
    // The head ends with an empty line.
    while reader.read_line(&mut line)? > 2 {
        if let Some(("content-length", value)) = line.to_ascii_lowercase().split_once(':') {
            length = value.trim().parse().unwrap_or(0).min(REQUEST_BYTES_MAX);
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;

    let mut answer = Extra::default();
    for dialect in Dialect::ALL {
        let said = match prepare_json(body.clone(), &Target::new(dialect)) {
            Ok(prepared) if prepared.report().is_empty() => "sent as it is".to_owned(),
            Ok(prepared) => prepared.report().to_string(),
            Err(rejection) => format!("refused: {rejection}"),
        };
        answer.insert(dialect.name(), said);
    }
    let json = Json::from_serialize(&answer).map_err(io::Error::other)?;
    let length = json.as_str().len();
    write!(connection, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n")?;
    write!(connection, "connection: close\r\n\r\n{}", json.as_str())
}
