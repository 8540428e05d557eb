use clap::Args;

/// Where traces of runs go.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Traces (in builds that have them)")]
pub struct Traces {
    /// Send a trace of each run to this address of OTLP; else OTEL_EXPORTER_OTLP_ENDPOINT, and what else OpenTelemetry has
    #[arg(long, global = true, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Let traces go to other machines by plain http, where anybody on the way can read them
    #[arg(long, global = true, env = "CALICO_UPGRADER_OTLP_ALLOW_PLAIN_HTTP")]
    pub otlp_allow_plain_http: bool,
}
