//! Stands in for the programs of Calico's images, so that real kubelets have something to start, probe and end.
//!
//! The name it is called by says whom it plays: `sleep`, `install-cni.sh`, from v3 on `install`, or else `calico-node`. It moves no packet.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::{env, fs, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The port of Felix's health checks.
const HEALTH: &str = "0.0.0.0:9099";

/// While this file is on the node, calico-node is not ready there.
const NOT_READY: &str = "/var/run/calico/stand-in-not-ready";

/// A name that no container runtime takes for a configuration: the nodes keep the one they have.
const INSTALLED: &str = "/host/etc/cni/net.d/calico.stand-in";

fn main() -> Result<()> {
    // The first process of a container has to listen for the signal that ends it.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let called = env::args().next().unwrap_or_default();
    let is_told = |flag: &str| env::args().any(|word| word == flag);
    match called.rsplit('/').next().unwrap_or_default() {
        "sleep" => {}
        "install-cni.sh" => install()?,
        // From v3 on these come to their end.
        "install" => return install(),
        _ if is_told("-init") => return Ok(()),
        _ if is_told("-felix-ready") => std::process::exit(i32::from(Path::new(NOT_READY).exists())),
        _ => serve_health()?,
    }
    signals.forever().next();
    Ok(())
}

/// Leaves on the node what release installed, and with which configuration.
fn install() -> Result<()> {
    let said = |name| env::var(name).unwrap_or_default();
    fs::write(INSTALLED, format!("{}\n{}\n", said("STAND_IN_RELEASE"), said("CNI_NETWORK_CONFIG")))
}

fn serve_health() -> Result<()> {
    let listener = TcpListener::bind(HEALTH)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A prober that went away asks again.
            let _ = answer(stream);
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream) -> Result<()> {
    let mut request = BufReader::new(stream.try_clone()?).lines();
    let asked = request.next().transpose()?.unwrap_or_default();
    for line in request {
        if line?.is_empty() {
            break;
        }
    }
    let status = status_for(&asked, Path::new(NOT_READY).exists());
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn status_for(asked: &str, is_told_to_fail: bool) -> &'static str {
    match asked.split(' ').nth(1) {
        Some("/readiness") if is_told_to_fail => "503 Service Unavailable",
        Some("/readiness" | "/liveness") => "200 OK",
        Some(_) | None => "404 Not Found",
    }
}

#[cfg(test)]
mod tests {
    use super::status_for;

    #[test]
    fn only_readiness_fails_when_told_to() {
        assert_eq!(status_for("GET /readiness HTTP/1.1", true), "503 Service Unavailable");
        assert_eq!(status_for("GET /liveness HTTP/1.1", true), "200 OK");
        assert_eq!(status_for("GET /readiness HTTP/1.1", false), "200 OK");
    }
}
