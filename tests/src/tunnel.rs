//! An HTTP proxy that opens tunnels, whatever host is asked for, and writes down what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The proxy. Dropping it stops it.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// Leads every tunnel to this server, or refuses it with a status other than 200.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(to: SocketAddr, status: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heads);
        let status = status.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = client.read_u8().await else { break };
                    head.push(byte);
                }
                log.lock().expect("no panic while held").push(String::from_utf8_lossy(&head).into_owned());
                let _ = client.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await;
                if status.starts_with("200") {
                    let Ok(mut server) = TcpStream::connect(to).await else { continue };
                    tokio::spawn(
                        async move { tokio::io::copy_bidirectional(&mut client, &mut server).await },
                    );
                }
            }
        });
        Self { address, heads, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, for `HTTPS_PROXY`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the requests so far.
    ///
    /// # Panics
    /// When its task has panicked.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic while held").clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}
