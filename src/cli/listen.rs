//! Who is told of a run besides the screen: the cluster, Prometheus, a webhook, whoever collects traces.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use secrecy::SecretString;

use super::{arguments::NotifyFormat, failure::Failure, session::Session, terminal, traces};
use crate::{
    cluster::Cluster,
    door::{self, RunPhase, RunState},
    notice::{About, ClusterListener, Listeners, MetricsListener, WebhookListener, Wording},
    plan::{Plan, Purpose},
    report,
    web::{Address, Client},
};

/// Everybody who wants to know. What cannot be told later on is said once and skipped; what cannot even begin is refused.
/// `found` is the record of a run that is taken up.
pub async fn listeners(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    found: Option<&RunState>,
) -> Result<Listeners, Failure> {
    let mut listeners = Listeners::default();
    let events = ClusterListener::new(cluster.clone(), plan.daemon_set.clone());
    listeners.add(|receiver| events.listen(receiver, |why| say_skipped("Events", why)));
    if let Some(text) = &session.global.metrics {
        let listener =
            tokio::net::TcpListener::bind(socket(text)?).await.map_err(|error| unusable(text, &error.to_string()))?;
        let metrics = MetricsListener::new(cluster.clone(), last_success(cluster).await?);
        listeners.add(|receiver| metrics.listen(receiver, listener));
    }
    if let Some(path) = &session.global.notify_url_file {
        let wording = match session.global.notify_format {
            NotifyFormat::Json => Wording::Json,
            NotifyFormat::Slack => Wording::Slack,
        };
        let client = Client::new(address(path)?, None);
        let webhook = WebhookListener { client, wording, cluster: cluster.server.clone() };
        listeners.add(|receiver| webhook.listen(receiver, |why| say_skipped("Notify", why)));
    }
    add_traces(&mut listeners, session, About::run(plan, found));
    Ok(listeners)
}

fn add_traces(listeners: &mut Listeners, session: &Session, about: About) {
    let is_built = cfg!(feature = "otel");
    match traces::listener(&session.global.traces, is_built, traces::variable, about) {
        Ok(None) => {}
        #[cfg(feature = "otel")]
        Ok(Some(traces)) => listeners.add(|receiver| {
            let is_quiet = session.global.quiet;
            let begun = move |to: &str| {
                if !is_quiet {
                    terminal::chatter_line(&format!("{:<10} {}", "Trace", report::clean(to)));
                }
            };
            traces.listen(receiver, begun, |why| say_skipped("Traces", why))
        }),
        // A build without traces has said so.
        #[cfg(not(feature = "otel"))]
        Ok(Some(_)) => {
            let _ = listeners;
        }
        Err(why) => say_skipped("Traces", &why),
    }
}

fn say_skipped(what: &str, why: &str) {
    terminal::chatter_line(&format!("{what:<10} skipped ({})", report::clean(why)));
}

/// A port alone is one of this machine, for nobody else to reach.
fn socket(text: &str) -> Result<SocketAddr, Failure> {
    let of_port = || text.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    text.parse()
        .ok()
        .or_else(of_port)
        .ok_or_else(|| unusable(text, "it is no address like 127.0.0.1:9099, and no port"))
}

fn unusable(text: &str, why: &str) -> Failure {
    Failure::new(64, "CU-E033", format!("metrics cannot be served at `{text}`"))
        .evidence([why.to_owned()])
        .why("nothing was changed")
        .now("another --metrics ADDRESS:PORT")
}

/// When an upgrade of this cluster last came to its end.
async fn last_success(cluster: &Cluster) -> Result<Option<jiff::Timestamp>, Failure> {
    let runs = door::runs(cluster).await?;
    let is_success =
        |run: &&door::RunState| run.purpose == Purpose::Upgrade && run.phase == RunPhase::Finished { exit: 0 };
    Ok(runs.iter().rev().find(is_success).and_then(|run| run.updated.parse().ok()))
}

fn address(path: &Path) -> Result<Address, Failure> {
    let text = secret(path)?;
    Address::read(secrecy::ExposeSecret::expose_secret(&text)).map_err(|error| {
        Failure::bad_file(path.display(), error.to_string()).now("a file that holds the address alone")
    })
}

/// A secret from a file, without the end of its line.
pub fn secret(path: &Path) -> Result<SecretString, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::bad_file(path.display(), error.to_string()))?;
    Ok(text.trim_end().to_owned().into())
}
