//! What is said of what goes on: on stderr with `--verbose`, and by OTLP where the program was built for it.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::out::EventWriter;

/// What is set up, and what is still on its way.
#[derive(Default)]
pub(crate) struct Telemetry {
    #[cfg(feature = "otlp")]
    spans: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

impl Telemetry {
    /// Begins to tell. Without anybody to tell, nothing is set up.
    pub(crate) fn start(verbose: bool) -> Self {
        let lines = verbose.then(|| {
            let lines = tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_writer(EventWriter::default)
                .without_time();
            lines.with_filter(LevelFilter::DEBUG)
        });
        #[cfg(feature = "otlp")]
        if let Some(provider) = provider() {
            use opentelemetry::trace::TracerProvider;
            let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("vertex-chat"));
            let spans = spans.with_filter(LevelFilter::INFO);
            tracing_subscriber::registry().with(lines).with(spans).init();
            return Self { spans: Some(provider) };
        }
        if verbose {
            tracing_subscriber::registry().with(lines).init();
        }
        Self::default()
    }

    /// Sends what is still on its way.
    pub(crate) fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(Err(error)) =
            self.spans.as_ref().map(opentelemetry_sdk::trace::SdkTracerProvider::shutdown)
        {
            crate::out::note(format_args!("spans could not be sent: {error}"));
        }
    }
}

/// Sends spans in batches, from a thread of its own. `OTEL_EXPORTER_OTLP_ENDPOINT` and the other variables of OpenTelemetry's
/// specification say where; without an endpoint nothing is sent.
#[cfg(feature = "otlp")]
fn provider() -> Option<opentelemetry_sdk::trace::SdkTracerProvider> {
    const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    ENDPOINTS.iter().find_map(std::env::var_os)?;
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().build();
    let exporter =
        exporter.inspect_err(|error| crate::out::note(format_args!("no spans are sent: {error}"))).ok()?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name("vertex-chat").build();
    let builder = opentelemetry_sdk::trace::SdkTracerProvider::builder();
    Some(builder.with_batch_exporter(exporter).with_resource(resource).build())
}
