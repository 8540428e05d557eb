//! What the pods of calico-node say of their nodes.

use std::collections::BTreeSet;

use super::Rolling;
use crate::cluster::Followed;

impl Rolling<'_> {
    /// How many nodes there are; one whose old pod is still ending has two pods for a while.
    pub(super) fn nodes(&self) -> usize {
        self.count(|_| true)
    }

    /// How many of them have a new pod.
    pub(super) fn done(&self) -> usize {
        self.count(|pod| self.is_new(pod) && !pod.is_terminating)
    }

    fn count(&self, is_meant: impl Fn(&Followed) -> bool) -> usize {
        let counted = self.feed.pods().values().filter(|pod| !pod.node.is_empty() && !self.gone.contains(&pod.name));
        counted.filter(|pod| is_meant(pod)).map(|pod| pod.node.as_str()).collect::<BTreeSet<_>>().len()
    }

    pub(super) fn trouble(&self, node: &str) -> String {
        match self.pod_on(node) {
            None => "it has no new pod yet".to_owned(),
            Some(pod) => pod.trouble.clone().unwrap_or_else(|| format!("pod {} is not ready yet", pod.name)),
        }
    }

    pub(super) fn pod_on(&self, node: &str) -> Option<&Followed> {
        self.feed.pods().values().find(|pod| pod.node == node && !pod.is_terminating)
    }

    pub(super) fn is_new(&self, pod: &Followed) -> bool {
        pod.revision.as_deref() == Some(&self.revision)
    }

    pub(super) fn is_any_old(&self) -> bool {
        self.feed.pods().values().any(|pod| !self.is_new(pod) && !pod.is_terminating && !pod.node.is_empty())
    }

    /// Whether no node is left after these.
    pub(super) fn is_last(&self, batch: &[(String, Followed)]) -> bool {
        let is_in = |pod: &Followed| batch.iter().any(|(node, _)| *node == pod.node);
        let mut old = self.feed.pods().values().filter(|pod| !self.is_new(pod) && !pod.is_terminating);
        old.all(|pod| pod.node.is_empty() || is_in(pod))
    }

    /// Whether there is a pod that was not replaced yet; one that is about to go was.
    pub(super) fn has_old_pod(&self, node: &str) -> bool {
        self.feed.pods().values().any(|pod| pod.node == node && !self.is_new(pod) && !pod.is_terminating)
    }

    pub(super) fn is_done(&self, node: &str) -> bool {
        let mut pods = self.feed.pods().values().filter(|pod| pod.node == node);
        pods.any(|pod| self.is_new(pod) && pod.is_ready && !pod.is_terminating)
    }
}
