use std::{collections::BTreeMap, net::IpAddr};

/// The nodes by name, with the addresses of their hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring(BTreeMap<String, IpAddr>);

/// A line that is not `NAME ADDRESS`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, `{text}`, is not the name of a node and its address")]
pub struct RingError {
    pub line: usize,
    pub text: String,
}

impl Ring {
    pub fn of(nodes: impl IntoIterator<Item = (String, IpAddr)>) -> Self {
        Self(nodes.into_iter().collect())
    }

    /// Reads one node a line.
    pub fn read(text: &str) -> Result<Self, RingError> {
        let entry = |(at, line): (usize, &str)| {
            let mut words = line.split_whitespace();
            let entry = words.next().zip(words.next().and_then(|address| address.parse().ok()));
            let wrong = || RingError { line: at + 1, text: line.to_owned() };
            entry.map(|(name, address)| (name.to_owned(), address)).ok_or_else(wrong)
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines.map(entry).collect::<Result<_, _>>().map(Self)
    }

    pub fn text(&self) -> String {
        self.0.iter().map(|(name, address)| format!("{name} {address}\n")).collect()
    }

    pub fn address(&self, node: &str) -> Option<IpAddr> {
        self.0.get(node).copied()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The nodes that the probes of this one send to: those that follow it, round the ring.
    pub fn neighbours(&self, node: &str, count: usize) -> Vec<(&str, IpAddr)> {
        let after = self.0.iter().filter(|(name, _)| name.as_str() > node);
        let before = self.0.iter().filter(|(name, _)| name.as_str() < node);
        after.chain(before).take(count).map(|(name, address)| (name.as_str(), *address)).collect()
    }

    /// The nodes whose probes send to this one.
    pub fn senders(&self, node: &str, count: usize) -> Vec<&str> {
        self.nodes().filter(|other| self.neighbours(other, count).iter().any(|(name, _)| *name == node)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(size: usize) -> Ring {
        Ring::of((0..size).map(|at| (format!("n{at}"), format!("10.0.0.{at}").parse().unwrap())))
    }

    fn names<'r>(ring: &'r Ring, node: &str) -> Vec<&'r str> {
        ring.neighbours(node, 3).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn each_node_sends_to_the_next_three_and_is_sent_to_by_three() {
        let ring = ring(8);
        assert_eq!(names(&ring, "n1"), ["n2", "n3", "n4"]);
        assert_eq!(names(&ring, "n6"), ["n7", "n0", "n1"]);
        assert_eq!(ring.senders("n0", 3), ["n5", "n6", "n7"]);
        assert!(ring.nodes().all(|node| ring.senders(node, 3).len() == 3));
    }

    #[test]
    fn few_nodes_send_to_all_others_and_none_to_itself() {
        assert_eq!(names(&ring(3), "n1"), ["n2", "n0"]);
        assert_eq!(names(&ring(1), "n0"), Vec::<&str>::new());
    }

    #[test]
    fn a_ring_is_read_as_it_was_written() {
        assert_eq!(Ring::read(&ring(5).text()), Ok(ring(5)));
        assert_eq!(Ring::read("a 10.0.0.1\n\nb nowhere\n").unwrap_err().line, 3);
    }
}
