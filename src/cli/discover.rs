use super::{Ended, session::Session, terminal};
use crate::{report, runbook};

pub async fn discover(session: &Session) -> Ended {
    let cluster = session.connect_with_data().await?;
    let inventory = session.look(&cluster, &runbook::catalogue(), None).await?;
    terminal::show(session.global.output, &inventory, || report::discovery(&inventory, terminal::width()));
    Ok(0)
}
