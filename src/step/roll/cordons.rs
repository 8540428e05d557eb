//! Cordons of a roll: those of the nodes that are done go in the same write in which those of the next come.

use super::Rolling;
use crate::{
    cluster::Cluster,
    door::{Change, Door},
    event::Voice,
    resource::{Kind, ObjectRef},
    step::{
        StepError,
        cordon::{cordon, cordoned_by, is_cordoned, uncordon},
        template::check_taints,
    },
};

/// The cordons that go and come in one write.
pub(super) struct Swap {
    changes: Vec<Change>,
    /// Nodes that were done, and went away with their cordons.
    gone: Vec<String>,
}

impl Rolling<'_> {
    /// Uncordons the nodes that are done, as far as this run cordoned them, and cordons the next, as far as nobody had.
    pub(super) async fn cordon_swap(
        &self,
        cluster: &Cluster,
        done: &[String],
        next: &[String],
    ) -> Result<Swap, StepError> {
        let read = |node: &String| {
            let reference = ObjectRef::cluster(Kind::Node, node);
            async move { cluster.get(&reference).await }
        };
        let nodes = futures::future::try_join_all(done.iter().chain(next).map(read)).await?;
        let gone = done.iter().zip(&nodes).filter(|(_, live)| live.is_none()).map(|(node, _)| node.clone()).collect();
        let (done, next) = nodes.split_at(done.len());
        next.iter().flatten().try_for_each(|live| check_taints(live, &self.daemon_set, self.roll))?;
        let uncordon = done.iter().flatten().filter(|live| cordoned_by(live).as_ref() == Some(&self.run)).map(uncordon);
        let cordon = next.iter().flatten().filter(|live| !is_cordoned(live)).map(|live| cordon(live, &self.run));
        Ok(Swap { changes: uncordon.chain(cordon).collect(), gone })
    }

    pub(super) async fn free(&mut self, done: &[String], door: &mut Door, voice: &Voice) -> Result<(), StepError> {
        let uncordon = self.cordon_swap(&door.cluster.clone(), done, &[]).await?;
        self.apply_cordons(uncordon, door, voice).await
    }

    pub(super) async fn apply_cordons(&mut self, swap: Swap, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
        swap.gone.iter().try_for_each(|node| self.leave_out(node, door, voice))?;
        if swap.changes.is_empty() {
            return Ok(());
        }
        let (done, of) = (self.done(), self.nodes());
        door.apply(self.step, swap.changes, |state| (state.nodes_done, state.nodes) = (done, of)).await?;
        Ok(())
    }
}
