use super::text::clean;
use crate::{
    backup::EtcdSource,
    inventory::{EtcdFacts, Fact},
};

/// What is known of the etcd of Calico's own data.
pub(super) fn found(etcd: &Fact<EtcdFacts>) -> Vec<String> {
    match etcd {
        Fact::Known(etcd) => lines(etcd),
        Fact::Unknown { why } => vec![one_line(&format!("etcd       not known: {why}"))],
    }
}

/// The etcd of Calico's own data, and what is odd in it.
fn lines(etcd: &EtcdFacts) -> Vec<String> {
    let EtcdFacts { cluster, version, members, endpoints, silent, keys, ready, calico_version, .. } = etcd;
    let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "not there".to_owned());
    let mut lines = vec![
        format!("etcd       cluster {cluster} · {} · members {}", version, members.join(", ")),
        format!("           endpoints {}", endpoints.join(", ")),
    ];
    lines.extend(silent.iter().map(|(endpoint, why)| format!("           silent: {endpoint} ({why})")));
    lines.extend(etcd.alarm.iter().map(|text| format!("           alarm: {text}")));
    lines.push(format!("           CalicoVersion {} · Ready {}", said(calico_version), said(ready)));
    let counts: Vec<String> = keys.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    lines.push(format!("Keys       {}: {}", keys.values().sum::<usize>(), counts.join(", ")));
    lines.extend(
        etcd.undecodable.iter().map(|(key, why)| format!("           cannot be read by Calico: {key} ({why})")),
    );
    lines.extend(etcd.hidden.iter().map(|key| format!("           in no list of etcd: {key}")));
    lines.extend(etcd.inexact.iter().map(|key| format!("           may hold other bytes: {key}")));
    let leftovers = etcd.leftovers.iter();
    lines
        .extend(leftovers.map(|stored| format!("           left behind by an old controller: {}", stored.object.name)));
    lines.iter().map(|line| one_line(line)).collect()
}

/// A key may hold a line break, too.
fn one_line(text: &str) -> String {
    clean(text).replace('\n', "\u{fffd}")
}

/// What a backup says of the etcd that its keys are from.
pub fn keys_in_backup(etcd: &EtcdSource) -> String {
    let mut lines = vec![format!(
        "keys of etcd cluster {} at index {}, read {} times; {} have a time to live",
        etcd.cluster, etcd.index, etcd.readings, etcd.passing
    )];
    lines.extend(etcd.moving.iter().map(|key| format!("changed while it was read: {key}")));
    lines.extend((etcd.gone > 0).then(|| format!("{} keys went while they were read", etcd.gone)));
    lines.extend(etcd.undecodable.iter().map(|(key, why)| format!("cannot be read by Calico: {key} ({why})")));
    lines.extend(etcd.hidden_found.iter().map(|key| format!("in no list of etcd, and found: {key}")));
    lines.extend(etcd.inexact.iter().map(|key| format!("may hold other bytes: {key}")));
    lines.push(format!("{} empty directories; not seen: {}", etcd.empty_directories.len(), etcd.not_seen));
    lines.iter().fold("\n".to_owned(), |text, line| text + &one_line(line) + "\n")
}
