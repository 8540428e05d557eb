//! What probes saw, in words.

use super::text::seconds;
use crate::probe::{NodeLoss, WholeLoss};

/// What was lost while a node was replaced, in a few words.
pub fn loss_words(loss: &NodeLoss) -> String {
    let new_pod = if loss.new_pod.is_empty() { String::new() } else { format!("; new pod: {}", loss.new_pod) };
    let unread = if loss.skipped.is_empty() { String::new() } else { format!("; skipped {}", loss.skipped.join(", ")) };
    format!("{}{new_pod}{unread}", counted(loss.pairs, loss.sent, loss.lost, loss.longest_ms))
}

/// What was lost over the whole roll.
pub fn whole_words(whole: &WholeLoss) -> String {
    let worst = whole.worst.as_ref().map(|ends| format!(", {ends}")).unwrap_or_default();
    format!("{}{worst}", counted(whole.pairs, whole.sent, whole.lost, whole.longest_ms))
}

pub fn watching_words(pairs: usize, left_out: &[String]) -> String {
    let left_out = if left_out.is_empty() { String::new() } else { format!("; left out: {}", left_out.join(", ")) };
    format!("probes watch {pairs} pairs of nodes{left_out}")
}

fn counted(pairs: usize, sent: u64, lost: u64, longest_ms: u64) -> String {
    match (sent, lost) {
        (0, _) => "no pair was watched".to_owned(),
        (_, 0) => format!("none of {sent} packets between {pairs} pairs was lost"),
        _ => {
            let gap = seconds(i64::try_from(longest_ms).unwrap_or(i64::MAX));
            format!("{lost} of {sent} packets between {pairs} pairs were lost, the longest gap {gap}")
        }
    }
}
