use super::{Ended, session::Session, terminal};
use crate::{report, runbook};

pub async fn discover(session: &Session) -> Ended {
    let cluster = session.connect().await?;
    let inventory = session.look_as_far_as_possible(&cluster, &runbook::catalogue(), None).await?;
    terminal::show(session.global.output, &inventory, || report::discovery(&inventory, terminal::width()));
    Ok(0)
}
