//! The way of one object through a plan: every state that it passes, and at which of them it is now.

use std::collections::BTreeMap;

use super::Plan;
use crate::resource::{Difference, Document, Kind, ObjectRef, differences};

/// The states that a plan takes one object through; absent is a state, too.
#[derive(Debug)]
pub(super) struct Way<'p> {
    pub object: &'p ObjectRef,
    states: Vec<Option<&'p Document>>,
    /// The state that the object has once the kept steps are done.
    kept: usize,
    pub live: Option<&'p Document>,
    pub place: Place,
}

/// Where an object is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Where it shall be, or it was never brought further.
    There,
    /// The plan changed it, and nobody since.
    Beyond,
    /// It is in no state that the plan knows: others changed it.
    Foreign,
}

impl<'p> Way<'p> {
    /// Follows every object of a plan to where it is now; the first `kept_steps` steps stay done.
    pub fn all(plan: &'p Plan, kept_steps: usize, live: &'p BTreeMap<ObjectRef, Document>) -> Vec<Self> {
        let mut ways = Self::without_places(plan, kept_steps);
        for way in &mut ways {
            way.live = live.get(way.object);
            way.place = way.find_place();
        }
        ways
    }

    fn without_places(plan: &'p Plan, kept_steps: usize) -> Vec<Self> {
        let mut ways: Vec<Self> = Vec::new();
        let mut places: BTreeMap<&ObjectRef, usize> = BTreeMap::new();
        for (step, planned) in plan.steps.iter().enumerate() {
            for change in planned.changes() {
                let place = *places.entry(&change.object).or_insert_with(|| {
                    let states = vec![change.before.as_ref()];
                    ways.push(Self { object: &change.object, states, kept: 0, live: None, place: Place::There });
                    ways.len() - 1
                });
                let way = &mut ways[place];
                // An object that is made anew is not there for a while.
                way.states.extend(change.recreated_for().map(|_| None));
                way.states.push(change.after.as_ref());
                if step < kept_steps {
                    way.kept = way.states.len() - 1;
                }
            }
        }
        ways
    }

    /// The state that the object shall have again.
    pub fn wanted(&self) -> Option<&'p Document> {
        self.states[self.kept]
    }

    /// Every form that the plan gives the object.
    pub fn forms(&self) -> Vec<&'p Document> {
        self.states.iter().copied().flatten().collect()
    }

    /// The state in which the plan leaves the object.
    pub fn last(&self) -> Option<&'p Document> {
        self.states.last().copied().flatten()
    }

    /// What others did to the object, against the state of the plan that is nearest to it.
    pub fn foreign_fields(&self) -> Vec<Difference> {
        let value = |document: Option<&Document>| document.map(Document::value).unwrap_or_default();
        let live = value(self.live);
        let from = |state: &Option<&Document>| {
            // Of an object that is there, fields are told: that it was absent once says nothing of them.
            (state.is_some() != self.live.is_some(), differences(&value(*state), &live))
        };
        let nearest = self.states.iter().map(from).min_by_key(|(is_other, fields)| (*is_other, fields.len()));
        nearest.map(|(_, fields)| fields).unwrap_or_default()
    }

    /// Answers whether the object is where it shall be.
    pub fn is_there(&self) -> bool {
        self.place == Place::There
    }

    fn find_place(&self) -> Place {
        if is_same(self.wanted(), self.live) {
            return Place::There;
        }
        match self.states.iter().rposition(|state| is_same(*state, self.live)) {
            Some(at) if at > self.kept => Place::Beyond,
            Some(_) => Place::There,
            None => Place::Foreign,
        }
    }
}

/// Two states are the same when no server could tell them apart.
pub(super) fn is_same(wanted: Option<&Document>, live: Option<&Document>) -> bool {
    match (wanted, live) {
        (None, None) => true,
        (Some(wanted), Some(live)) => wanted == live || differences(&wanted.value(), &live.value()).is_empty(),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// What an object is to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The pods depend on it: it goes back with them, and must be known.
    Nodes,
    /// Of the controllers one at most may run at any time.
    Controllers,
    Rights,
    Definition,
    Data,
    Policy,
}

impl Part {
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::ServiceAccount
            | Kind::ClusterRole
            | Kind::ClusterRoleBinding
            | Kind::PodDisruptionBudget
            | Kind::Service => Part::Rights,
            Kind::CustomResourceDefinition => Part::Definition,
            Kind::NetworkPolicy | Kind::AdminNetworkPolicy | Kind::BaselineAdminNetworkPolicy => Part::Policy,
            Kind::IpPool
            | Kind::BgpPeer
            | Kind::GlobalFelixConfig
            | Kind::GlobalBgpConfig
            | Kind::GlobalNetworkPolicy
            | Kind::ThirdPartyIpPool
            | Kind::ThirdPartyGlobalConfig
            | Kind::ThirdPartyGlobalBgpConfig
            | Kind::ThirdPartyGlobalBgpPeer
            | Kind::SystemNetworkPolicy
            | Kind::BgpConfiguration
            | Kind::BgpFilter
            | Kind::BlockAffinity
            | Kind::CalicoNodeStatus
            | Kind::ClusterInformation
            | Kind::FelixConfiguration
            | Kind::GlobalNetworkSet
            | Kind::HostEndpoint
            | Kind::IpamBlock
            | Kind::IpamConfig
            | Kind::IpamHandle
            | Kind::IpReservation
            | Kind::KubeControllersConfiguration
            | Kind::CalicoNetworkPolicy
            | Kind::NetworkSet
            | Kind::StagedGlobalNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::Tier
            | Kind::EtcdKey => Part::Data,
            Kind::Deployment | Kind::ReplicaSet => Part::Controllers,
            Kind::Namespace
            | Kind::Node
            | Kind::Pod
            | Kind::ConfigMap
            | Kind::Secret
            | Kind::DaemonSet
            | Kind::ControllerRevision
            | Kind::Lease
            | Kind::Job
            | Kind::PriorityClass => Part::Nodes,
        }
    }
}
