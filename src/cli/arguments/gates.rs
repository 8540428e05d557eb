use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// When a run may begin something.
#[derive(Clone, Debug, Default, Args)]
pub struct Gates {
    /// Begin nothing outside this window, like "Tue,Wed 22:00-02:00 Europe/Berlin"; may be given again
    #[arg(long, value_name = "DAYS HOURS ZONE", value_delimiter = ';', env = "CALICO_UPGRADER_WINDOW")]
    pub window: Vec<String>,
    /// Days without a window, like 2026-12-20..2027-01-05, in the time zone of each window; may be given again
    #[arg(
        long,
        value_name = "FIRST..LAST",
        value_delimiter = ';',
        requires = "window",
        env = "CALICO_UPGRADER_FREEZE"
    )]
    pub freeze: Vec<String>,
    /// Begin no node while this query to Prometheus, like ALERTS{alertstate="firing"}, has an answer or cannot be asked
    #[arg(long, num_args = 2, value_names = ["URL", "QUERY"])]
    pub alert_gate: Vec<String>,
    /// Stop before the next node once packets between nodes were lost for longer than a time like 5s, or more than a share like 1%
    #[arg(long, value_name = "TIME|SHARE", env = "CALICO_UPGRADER_GATE_LOSS")]
    pub gate_loss: Option<String>,
    /// A file with the bearer token for the alert gate
    #[arg(long, value_name = "FILE", requires = "alert_gate", env = "CALICO_UPGRADER_ALERT_TOKEN_FILE")]
    pub alert_token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Approve {
    /// The run, or a plan that was saved with `plan --out` and that a run waits with
    #[arg(value_name = "RUN|PLAN")]
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NotifyFormat {
    Json,
    Slack,
}
