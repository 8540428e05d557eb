//! The order of a restore: what others need comes first, what denies comes before what allows, what restarts pods comes last.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Verdict, keys};
use crate::{
    plan::{Lines, ObjectChange, Stage, steps::frozen_first},
    resource::{Document, Kind, ObjectRef, differences},
};

/// The places of a restore, in their order: all changes of one before any of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Namespaces,
    Definitions,
    Accounts,
    Rights,
    Bindings,
    Settings,
    Data,
    /// Policies of etcd that let nothing in.
    DenyingKeys,
    AllowingKeys,
    /// Policies of etcd that are for other endpoints than now: the others hold those by then.
    MovedKeys,
    /// Profiles count where no policy selects an endpoint.
    Profiles,
    Endpoints,
    /// The flag that nodes wait for.
    Ready,
    /// New policies that let nothing in.
    Denials,
    /// New policies that let something in to pods that they close otherwise.
    Allowances,
    /// Policies that select as many pods as before, or more.
    WiderPolicies,
    /// Policies that may let go of pods: by now the others hold them.
    OtherPolicies,
    Controllers,
    DaemonSet,
}

/// Answers where the change of an object belongs; `None` for kinds that no backup is restored of, and for keys, of which only
/// lines are known.
pub(super) fn place(object: &ObjectRef, after: &Document, before: Option<&Document>) -> Option<Place> {
    Some(match object.kind {
        Kind::Namespace => Place::Namespaces,
        Kind::CustomResourceDefinition => Place::Definitions,
        Kind::ServiceAccount | Kind::PodDisruptionBudget => Place::Accounts,
        Kind::ClusterRole => Place::Rights,
        Kind::ClusterRoleBinding => Place::Bindings,
        Kind::ConfigMap | Kind::Service => Place::Settings,
        Kind::ThirdPartyIpPool
        | Kind::ThirdPartyGlobalConfig
        | Kind::ThirdPartyGlobalBgpConfig
        | Kind::ThirdPartyGlobalBgpPeer
        | Kind::SystemNetworkPolicy
        | Kind::IpPool
        | Kind::BgpPeer
        | Kind::GlobalFelixConfig
        | Kind::GlobalBgpConfig
        | Kind::GlobalNetworkPolicy
        | Kind::BgpConfiguration
        | Kind::BgpFilter
        | Kind::FelixConfiguration
        | Kind::GlobalNetworkSet
        | Kind::HostEndpoint
        | Kind::IpReservation
        | Kind::KubeControllersConfiguration
        | Kind::CalicoNetworkPolicy
        | Kind::NetworkSet
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedKubernetesNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::Tier => Place::Data,
        Kind::NetworkPolicy => {
            place_of_policy(&after.value()["spec"], before.map(|before| before.value()["spec"].clone()))
        }
        Kind::Deployment | Kind::ReplicaSet => Place::Controllers,
        Kind::DaemonSet => Place::DaemonSet,
        Kind::EtcdKey
        | Kind::AdminNetworkPolicy
        | Kind::BaselineAdminNetworkPolicy
        | Kind::Node
        | Kind::Pod
        | Kind::Secret
        | Kind::ControllerRevision
        | Kind::Lease
        | Kind::Job
        | Kind::PriorityClass
        | Kind::BlockAffinity
        | Kind::CalicoNodeStatus
        | Kind::ClusterInformation
        | Kind::IpamBlock
        | Kind::IpamConfig
        | Kind::IpamHandle => {
            return None;
        }
    })
}

/// A policy closes the pods that it selects, and policies add up (Kubernetes documentation, "Network Policies"). A new one can
/// only close; one that lets go of pods opens them unless another holds them by then.
fn place_of_policy(after: &Value, before: Option<Value>) -> Place {
    let Some(before) = before else {
        let lets_in = |key: &str| after[key].as_array().is_some_and(|rules| !rules.is_empty());
        return if lets_in("ingress") || lets_in("egress") { Place::Allowances } else { Place::Denials };
    };
    let selects_all = |spec: &Value| spec["podSelector"].as_object().is_none_or(serde_json::Map::is_empty);
    let is_same_selector = differences(&after["podSelector"], &before["podSelector"]).is_empty();
    let is_wider = (is_same_selector || selects_all(after))
        && directions(&before).iter().all(|one| directions(after).contains(one));
    if is_wider { Place::WiderPolicies } else { Place::OtherPolicies }
}

fn directions(spec: &Value) -> Vec<String> {
    let named = spec["policyTypes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut all: Vec<String> = named.map(str::to_owned).collect();
    if all.is_empty() {
        all.push("Ingress".to_owned());
        all.extend(spec["egress"].as_array().filter(|rules| !rules.is_empty()).map(|_| "Egress".to_owned()));
    }
    all
}

/// What can be seen of a change while it is made, and cannot be avoided by any order.
pub(super) fn warning(object: &ObjectRef, verdict: &Verdict) -> Option<String> {
    let Verdict::Replace { before, after } = verdict else { return None };
    match place(object, after, Some(before))? {
        Place::OtherPolicies => {
            Some("it lets go of pods that it holds now, after all other policies are back".to_owned())
        }
        Place::MovedKeys
        | Place::Namespaces
        | Place::Definitions
        | Place::Accounts
        | Place::Rights
        | Place::Bindings
        | Place::Settings
        | Place::Data
        | Place::DenyingKeys
        | Place::AllowingKeys
        | Place::Profiles
        | Place::Endpoints
        | Place::Ready
        | Place::Denials
        | Place::Allowances
        | Place::WiderPolicies
        | Place::Controllers
        | Place::DaemonSet => None,
    }
}

/// Puts the changes in their order.
pub(super) fn stages(changes: Vec<ObjectChange>, keys: BTreeMap<Place, Lines>) -> Vec<Stage> {
    let mut places: BTreeMap<Place, Vec<ObjectChange>> = BTreeMap::new();
    for change in changes {
        let after = change.after.as_ref().expect("a restore deletes nothing");
        let place = place(&change.object, after, change.before.as_ref()).expect("other kinds were left out before");
        places.entry(place).or_default().push(change);
    }
    let of_objects = places.into_iter().map(|(place, changes)| (place, stages_of(place, changes)));
    let of_keys = keys.into_iter().map(|(place, lines)| {
        let note = keys::note(place).map(str::to_owned);
        (place, vec![Stage::Lines { lines, note }])
    });
    let stages: BTreeMap<Place, Vec<Stage>> = of_objects.chain(of_keys).collect();
    stages.into_values().flatten().collect()
}

fn stages_of(place: Place, changes: Vec<ObjectChange>) -> Vec<Stage> {
    match place {
        Place::DaemonSet => changes.into_iter().flat_map(frozen_where_it_rolls).collect(),
        Place::Definitions => {
            let names = changes.iter().map(|change| change.object.name.clone()).collect();
            vec![Stage::Changes(changes), Stage::UntilEstablished(names)]
        }
        Place::Namespaces
        | Place::Accounts
        | Place::Rights
        | Place::Bindings
        | Place::Settings
        | Place::Data
        | Place::DenyingKeys
        | Place::AllowingKeys
        | Place::MovedKeys
        | Place::Profiles
        | Place::Endpoints
        | Place::Ready
        | Place::Denials
        | Place::Allowances
        | Place::WiderPolicies
        | Place::OtherPolicies
        | Place::Controllers => vec![Stage::Changes(changes)],
    }
}

/// A changed template is sent only after the controller has seen that it shall not roll by itself.
fn frozen_where_it_rolls(change: ObjectChange) -> Vec<Stage> {
    let template = |document: &Option<Document>| document.as_ref().map(|one| one.value()["spec"]["template"].clone());
    match (template(&change.before), template(&change.after)) {
        (Some(before), Some(after)) if !differences(&after, &before).is_empty() => frozen_first(change),
        (_, _) => vec![Stage::Changes(vec![change])],
    }
}
