use std::{net::IpAddr, path::PathBuf};

use clap::Args;

use crate::probe::{INTERVAL_MS, PORT};

/// What the pods of a probe are started with.
#[derive(Debug, Args)]
pub struct Probe {
    /// A file with the nodes, one `NAME ADDRESS` a line; a probe sends to the next three by name
    #[arg(long, value_name = "FILE")]
    pub ring: PathBuf,
    /// The node that this probe runs on
    #[arg(long, env = "NODE_NAME")]
    pub node: String,
    /// The address of this probe
    #[arg(long, value_name = "IP", env = "POD_IP")]
    pub address: IpAddr,
    /// It is on the host's network, and tells others where the probe of its pods is
    #[arg(long)]
    pub host: bool,
    /// The run that it belongs to: packets of other runs are not answered
    #[arg(long)]
    pub run: String,
    /// Where all probes listen (UDP)
    #[arg(long, default_value_t = PORT)]
    pub port: u16,
    /// How often to send to each neighbour, like 200ms
    #[arg(long, value_name = "DURATION", default_value_t = format!("{INTERVAL_MS}ms"))]
    pub interval: String,
    /// Only ask, until every neighbour has answered or this time is over; exit with 4 if none did
    #[arg(long, value_name = "DURATION")]
    pub once: Option<String>,
}
