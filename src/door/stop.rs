use tokio::sync::watch;

/// Whether someone asked this process to stop, and with which exit code it shall end.
///
/// A run heeds it between its changes and while it waits, never in the middle of a change.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<u8>>);

impl Stop {
    /// Gives the switch and what it switches.
    pub fn new() -> (watch::Sender<Option<u8>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    pub fn asked(&self) -> Option<u8> {
        *self.0.borrow()
    }

    /// Waits until someone asks; for ever if nobody can any more.
    pub async fn wait(&mut self) -> u8 {
        match self.0.wait_for(Option::is_some).await.map(|exit| *exit) {
            Ok(Some(exit)) => exit,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
