use super::{BLOCKED, Finding, NO_ACCESS, Severity};
use crate::inventory::{Datastore, EtcdFacts, Fact, Inventory};

/// The etcd of Calico's own data, where there is one.
pub(super) fn findings(inventory: &Inventory) -> Vec<Finding> {
    let etcd = match &inventory.etcd {
        None => return not_looked_at(inventory).into_iter().collect(),
        Some(Fact::Unknown { why }) => return vec![out_of_reach(why)],
        Some(Fact::Known(etcd)) => etcd,
    };
    let all = [
        two_datastores(inventory, etcd),
        silent(etcd),
        alarm(etcd),
        paused(etcd),
        undecodable(etcd),
        inexact(etcd),
        leftovers(etcd),
    ];
    all.into_iter().flatten().collect()
}

fn not_looked_at(inventory: &Inventory) -> Option<Finding> {
    let install = inventory.installs.iter().find(|one| one.datastore.known() == Some(&Datastore::Etcd))?;
    let title = format!("{} keeps its data in etcd, and etcd was not asked", install.daemon_set);
    let finding = Finding::new("CU-C020", Severity::Final { exit: BLOCKED }, title);
    Some(
        finding
            .why("without its keys there is no backup and no telling what an upgrade meets")
            .now("leave out --datastore kubernetes"),
    )
}

fn out_of_reach(why: &str) -> Finding {
    let finding =
        Finding::new("CU-C027", Severity::Final { exit: NO_ACCESS }, "the etcd of Calico's data gives no answer");
    finding
        .evidence([why.to_owned()])
        .why("without its keys there is no backup and no telling what an upgrade meets, so no run begins")
        .now("calico-upgrader explain with the code in the evidence; where etcd is: --etcd-endpoints URL,…")
}

fn two_datastores(inventory: &Inventory, etcd: &EtcdFacts) -> Option<Finding> {
    let (old, new) = (inventory.third_party.len(), inventory.custom.len());
    if etcd.is_chosen || !etcd.holds_data() || old + new == 0 {
        return None;
    }
    let keys: usize = etcd.keys.values().sum();
    let finding =
        Finding::new("CU-C021", Severity::Final { exit: BLOCKED }, "two datastores look as if Calico used them");
    Some(
        finding
            .evidence([
                format!("etcd cluster {} at {}: {keys} keys", etcd.cluster, etcd.endpoints.join(", ")),
                format!("Kubernetes: {old} ThirdPartyResource objects, {new} custom resources"),
            ])
            .why("which of them is in force cannot be seen from outside, and the wrong one would be upgraded")
            .now("say which one is: --datastore etcdv2 or --datastore kubernetes"),
    )
}

fn silent(etcd: &EtcdFacts) -> Option<Finding> {
    let lines: Vec<String> = etcd.silent.iter().map(|(endpoint, why)| format!("{endpoint}: {why}")).collect();
    let title = format!("{} of {} endpoints of etcd do not answer", lines.len(), lines.len() + etcd.endpoints.len());
    let finding = Finding::new("CU-C022", Severity::Advisory, title);
    let why = "the others are used; one more that fails could cost etcd its quorum, and Calico its data store";
    (!lines.is_empty()).then(|| finding.evidence(lines).why(why).now("etcdctl cluster-health"))
}

fn alarm(etcd: &EtcdFacts) -> Option<Finding> {
    let finding = Finding::new("CU-C028", Severity::Mandatory { exit: BLOCKED }, "etcd has raised an alarm");
    let why = "an etcd that is full refuses what Kubernetes writes to it, and a full disk ends it; keys of its v2 API it still takes";
    let now = "etcdctl alarm list; make room (compact, defrag), then etcdctl alarm disarm; or --ignore CU-C028=REASON";
    etcd.alarm.as_ref().map(|text| finding.evidence([text.clone()]).why(why).now(now))
}

fn paused(etcd: &EtcdFacts) -> Option<Finding> {
    let found = etcd.ready.as_deref();
    if found == Some("true") {
        return None;
    }
    let title = "Calico is paused: its etcd does not say that it is ready";
    let evidence = format!("/calico/v1/Ready is {}", found.map_or("not there".to_owned(), |text| format!("`{text}`")));
    let finding = Finding::new("CU-C023", Severity::Mandatory { exit: BLOCKED }, title).evidence([evidence]);
    Some(
        finding
            .why("another tool may be moving the data just now, and a calico-node that starts anew will wait for it")
            .now("find out who paused it; go on with --ignore CU-C023=REASON"),
    )
}

fn undecodable(etcd: &EtcdFacts) -> Option<Finding> {
    let title = format!("{} keys hold what Calico cannot read", etcd.undecodable.len());
    let lines = etcd.undecodable.iter().map(|(key, why)| format!("{key}: {why}"));
    let finding = Finding::new("CU-C024", Severity::Advisory, title).evidence(lines);
    let why = "Calico passes over them without a word: a policy among them is not enforced. They are backed up and left alone";
    let now = "put them right or remove them with calicoctl or etcdctl";
    (!etcd.undecodable.is_empty()).then(|| finding.why(why).now(now))
}

fn inexact(etcd: &EtcdFacts) -> Option<Finding> {
    let title = format!("{} keys may hold bytes that etcd does not give as they are", etcd.inexact.len());
    let finding = Finding::new("CU-C025", Severity::Advisory, title).evidence(etcd.inexact.iter().cloned());
    let why = "its v2 API writes U+FFFD for bytes that are no UTF-8, so a backup may hold them otherwise";
    (!etcd.inexact.is_empty()).then(|| finding.why(why).now("keep a copy of etcd's data directory too"))
}

fn leftovers(etcd: &EtcdFacts) -> Option<Finding> {
    let names: Vec<String> = etcd.leftovers.iter().map(|stored| stored.object.name.clone()).collect();
    let title = format!("{} policies of old controllers are left behind", names.len());
    let finding = Finding::new("CU-C026", Severity::Advisory, title).evidence(names.clone());
    let why = "what a default-deny selects is still let through (projectcalico/calico issue 1484)";
    (!names.is_empty()).then(|| finding.why(why).now("the plan removes them in step remove-leftovers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(etcd: EtcdFacts) -> Vec<String> {
        [silent(&etcd), paused(&etcd), undecodable(&etcd), inexact(&etcd), leftovers(&etcd)]
            .into_iter()
            .flatten()
            .map(|finding| finding.id)
            .collect()
    }

    #[test]
    fn an_etcd_that_is_well_has_no_finding() {
        assert_eq!(ids(EtcdFacts { ready: Some("true".to_owned()), ..EtcdFacts::default() }), Vec::<String>::new());
    }

    #[test]
    fn only_the_exact_word_is_ready() {
        for text in [None, Some("True"), Some("true\n"), Some("false")] {
            let etcd = EtcdFacts { ready: text.map(str::to_owned), ..EtcdFacts::default() };
            assert_eq!(ids(etcd), ["CU-C023"], "{text:?}");
        }
    }
}
