//! A gateway on a socket, for tests that ask it as any client would.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vertex_chat::Environment;
use vertex_chat_emulator::PROJECT;
use vertex_chat_gateway::{AccessEntry, Config, Gateway, Options};
use vertex_chat_transport::{
    Body, Clock, Connector, Exchange, HttpConnector, Profile, Request, Response, SystemClock, TransportError,
};

/// A gateway that listens on loopback.
#[derive(Debug)]
pub struct Served {
    /// The gateway itself.
    pub gateway: Gateway,
    address: SocketAddr,
    client: Arc<dyn Exchange>,
    log: Arc<Mutex<Vec<AccessEntry>>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What a client got.
#[derive(Clone, Debug)]
pub struct Got {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Got {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|it| it.to_str().ok())
    }
}

impl Served {
    /// A gateway with this configuration, an empty environment and the world's clock.
    ///
    /// # Panics
    /// When it cannot be built.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, Environment::of::<&str, &str>([]), Arc::new(SystemClock)).await
    }

    /// A gateway with this configuration, environment and clock.
    ///
    /// # Panics
    /// When it cannot be built.
    pub async fn start_with(config: &str, environment: Environment, clock: Arc<dyn Clock>) -> Self {
        let config = Config::parse("gateway.toml", config).unwrap_or_else(|error| panic!("{error}"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let entries = Arc::clone(&log);
        let options = Options::new()
            .environment(environment)
            .clock(clock)
            .on_request(move |entry| entries.lock().expect("no panic while held").push(entry.clone()));
        let gateway = Gateway::build(&config, options).await.unwrap_or_else(|error| panic!("{error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = gateway.clone();
        let task = tokio::spawn(async move {
            served
                .serve(listener, async {
                    let _ = stopped.await;
                })
                .await;
        });
        let client = HttpConnector::new().connect(&Profile::NoProxy).expect("a client");
        Self { gateway, address, client, log, stop: Some(stop), task }
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that are over.
    ///
    /// # Panics
    /// When one who was told has panicked.
    #[must_use]
    pub fn log(&self) -> Vec<AccessEntry> {
        self.log.lock().expect("no panic while held").clone()
    }

    /// Waits until this many requests are over.
    pub async fn wait_for(&self, requests: usize) -> Vec<AccessEntry> {
        loop {
            let log = self.log();
            if log.len() >= requests {
                return log;
            }
            tokio::task::yield_now().await;
        }
    }

    /// A request by hand.
    ///
    /// # Errors
    /// When there is no whole answer.
    ///
    /// # Panics
    /// When the request is none.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Got, TransportError> {
        let mut request = Request::new(body.into());
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.url()).parse().expect("a path");
        for (name, value) in headers {
            let name = http::HeaderName::try_from(*name).expect("a name");
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let (head, body) = self.client.send(request).await?.into_parts();
        Ok(Got { status: head.status, headers: head.headers, body: body.collect(64 << 20).await? })
    }

    /// Asks for a completion.
    ///
    /// # Panics
    /// When there is no whole answer.
    pub async fn complete(&self, body: &Value) -> Got {
        let headers = [("content-type", "application/json")];
        let got = self.ask(Method::POST, "/v1/chat/completions", &headers, body.to_string()).await;
        got.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asks for something else.
    ///
    /// # Panics
    /// When there is no whole answer.
    pub async fn get(&self, path: &str) -> Got {
        self.ask(Method::GET, path, &[], Bytes::new()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Ends it, and waits until it has.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let _ = (&mut self.task).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A configuration with one target, an OpenAI-compatible server at this URL, for every model.
#[must_use]
pub fn before(url: &str, dialect: &str) -> String {
    format!(
        "[targets.upstream]\nkind = \"openai\"\nbase_url = \"{url}/v1\"\napi_key = \"upstream-key\"\ndialect = \"{dialect}\"\n\
         retries = 0\n[[models]]\nname = \"*\"\nto = [{{ target = \"upstream\" }}]\n"
    )
}

/// A target of this name: Vertex, on an emulator that has this key. No retries.
#[must_use]
pub fn vertex(name: &str, base_url: &str, key: &Path) -> String {
    format!(
        "[targets.{name}]\nkind = \"vertex\"\nproject = \"{PROJECT}\"\nhost = \"{base_url}\"\ncredentials_file = \"{}\"\n\
         retries = 0\n",
        key.display()
    )
}

/// A server on every host, which refuses requests for a dedicated endpoint at the shared one.
#[derive(Debug)]
pub struct Dedicated {
    asked: Mutex<Vec<String>>,
    /// The domain that the refusal names.
    named: String,
    /// The domain that the endpoint's description has.
    looked_up: Value,
}

impl Dedicated {
    /// One that names this domain.
    #[must_use]
    pub fn at(named: &str) -> Self {
        Self::with_lookup(named, Value::from(named))
    }

    /// One that names this domain in its refusal, and another in the endpoint's description.
    #[must_use]
    pub fn with_lookup(named: &str, looked_up: Value) -> Self {
        Self { asked: Mutex::default(), named: named.to_owned(), looked_up }
    }

    /// The hosts that were asked.
    ///
    /// # Panics
    /// When one who asked has panicked.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        self.asked.lock().expect("no panic while held").clone()
    }
}

#[async_trait]
impl Exchange for Dedicated {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let is_own = host.ends_with(".prediction.vertexai.goog");
        if request.method() == Method::GET {
            self.asked.lock().expect("no panic while held").push(format!("lookup at {host}"));
            let endpoint = json!({
                "name": "projects/p/locations/us-central1/endpoints/12", "dedicatedEndpointDns": self.looked_up,
            });
            return Ok(Response::new(Body::from(endpoint.to_string())));
        }
        self.asked.lock().expect("no panic while held").push(host);
        let message = json!({"role": "assistant", "content": "hello"});
        let body = match is_own {
            true => json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}),
            false => json!([{"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": format!(
                "Dedicated Endpoint cannot be accessed through the shared Vertex AI domain aiplatform.googleapis.com. Please access the \
                 endpoint using its dedicated domain name '{}'", self.named)}}]),
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = if is_own { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", json);
        Ok(response)
    }
}
