//! A dry run of any plan: every change is listed, and the server tries those that it can already.

use super::{Ended, arguments::DryRun, failure::Failure, session::Session, terminal};
use crate::{
    cluster::Cluster,
    door::Change,
    plan::{Desired, Plan, PlannedStep, Sealed, Stage},
    report,
    resource::{Kind, ObjectRef},
    step,
};

/// A change, and the step that makes it.
type Move = (String, String);

pub async fn dry_run(session: &Session, cluster: &Cluster, sealed: &Sealed, mode: DryRun) -> Ended {
    let is_tried = mode == DryRun::Server && cluster.can_try_writes();
    let mut moves = Vec::new();
    for planned in &sealed.plan.steps {
        moves.extend(moves_of(cluster, &sealed.plan, planned, is_tried).await?);
    }
    let list: Vec<_> = moves.iter().map(|(step, change)| serde_json::json!({"step": step, "change": change})).collect();
    terminal::show(session.global.output, &list, || {
        let rows = moves.iter().map(|(step, change)| vec![step.clone(), change.clone()]).collect();
        report::table(&["STEP", "CHANGE"], rows, terminal::width()) + "\n" + &report::planned_changes(&sealed.plan)
    });
    let tried = match (is_tried, mode) {
        (true, _) => "the API server tried them",
        (false, DryRun::Client) => "skipped trying them (--dry-run=client)",
        (false, DryRun::Server) => "skipped trying them (this API server has no dry run)",
    };
    terminal::chatter_line(&format!("{} changes, none made; {tried}. Plan {}", moves.len(), sealed.digest.short()));
    Ok(0)
}

async fn moves_of(cluster: &Cluster, plan: &Plan, planned: &PlannedStep, is_tried: bool) -> Result<Vec<Move>, Failure> {
    let labels = match &planned.desired {
        Desired::BackUp | Desired::Verify(_) => Vec::new(),
        Desired::Objects { stages } => try_stages(cluster, plan, stages, is_tried).await?,
        Desired::Pull(pull) => step::planned_pull(pull).collect(),
        Desired::Roll(roll) => {
            let strategy = roll.then.iter().map(|change| format!("replace {}", change.object));
            step::planned_moves(cluster, plan, roll).await?.into_iter().chain(strategy).collect()
        }
    };
    Ok(labels.into_iter().map(|label| (planned.name.clone(), label)).collect())
}

async fn try_stages(cluster: &Cluster, plan: &Plan, stages: &[Stage], is_tried: bool) -> Result<Vec<String>, Failure> {
    let mut labels = Vec::new();
    for stage in stages {
        if let Stage::Uncordoned(runs) = stage {
            labels.extend(step::planned_uncordons(cluster, runs).await?);
        }
        if let Stage::Recreated(recreation) = stage {
            let moves = step::planned_recreation(cluster, plan, recreation, is_tried).await;
            labels.extend(moves.map_err(|error| Failure::unexpected(&error))?);
        }
        if let Stage::Lines { lines, .. } = stage {
            // What must hold was looked at with the keys themselves; etcd cannot try a write.
            labels.extend(step::pending_lines(cluster, lines).await.map_err(|error| Failure::unexpected(&error))?);
        }
        let Stage::Changes(changes) = stage else { continue };
        let pending = step::pending(cluster, plan, changes).await.map_err(|error| Failure::unexpected(&error))?;
        for change in pending {
            if is_tried && can_be_tried(cluster, plan, &change) {
                change.try_out(cluster).await.map_err(|error| Failure::unexpected(&error))?;
            }
            labels.push(change.label);
        }
    }
    Ok(labels)
}

/// Objects of a definition, or in a namespace, that is only to be created cannot be tried yet.
fn can_be_tried(cluster: &Cluster, plan: &Plan, change: &Change) -> bool {
    let object = &change.object;
    let namespace = object.namespace.as_ref().map(|name| ObjectRef::cluster(Kind::Namespace, name));
    let is_to_come = plan.changes().any(|other| other.before.is_none() && Some(&other.object) == namespace.as_ref());
    !is_to_come && (!object.kind.is_custom() || cluster.serves(object.kind))
}
