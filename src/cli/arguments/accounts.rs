use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Report {
    /// The run, or the directory of one; the newest of the state directory if none is named
    pub run: Option<String>,
    /// How to write it [default: text]
    #[arg(long, value_enum)]
    pub format: Option<ReportFormat>,
    /// Where to write it
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    pub out: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For a terminal
    Text,
    /// One page that needs nothing but itself
    Html,
    /// For a ticket
    Markdown,
    /// For a CI server: each step and each claim is a test case
    Junit,
    Json,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// A code such as CU-R004, the id of a gate, or an exit code such as 13; all are listed if none is named
    pub code: Option<String>,
}
