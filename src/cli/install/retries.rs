//! Which ends of a pod another pod may mend: what a Job does with each exit code.

/// What follows the end of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The Job is done.
    Done,
    /// Another pod goes on where this one stopped, as often as the Job's limit lets it.
    Another,
    /// Another pod would end the same way, or a person has to look first: the Job fails at once.
    Person,
}

/// Every exit code that the program ends with (docs/exit-codes.md).
const ENDS: [(u8, Next); 21] = [
    (0, Next::Done),
    (1, Next::Another),
    // Only where it was asked for by --detailed-exitcode; then someone wants to know.
    (2, Next::Person),
    (3, Next::Person),
    // A node that was slow may be ready by now, and one that is not stops the next pod without a change.
    (4, Next::Another),
    (5, Next::Person),
    (6, Next::Person),
    (7, Next::Person),
    // The lock of a runner that died is free after its time.
    (8, Next::Another),
    // The next window is hours away. The pod of a CronJob ends with 0 there.
    (9, Next::Person),
    (10, Next::Person),
    // Whoever paused it resumes it.
    (11, Next::Person),
    (13, Next::Person),
    (14, Next::Person),
    // The API server may come back. A right that is missing is missing again, and the limit ends it.
    (15, Next::Another),
    (16, Next::Person),
    (17, Next::Person),
    (64, Next::Person),
    (65, Next::Person),
    (130, Next::Another),
    (143, Next::Another),
];

/// The exit codes that end a Job at once.
pub fn final_exits() -> Vec<u8> {
    ENDS.iter().filter(|(_, next)| *next == Next::Person).map(|(exit, _)| *exit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_of_the_page_has_a_row_and_no_other() {
        let page = include_str!("../../../docs/exit-codes.md");
        let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        let numbers = cells.flat_map(|cell| cell.split(", ").map(str::parse).collect::<Result<Vec<u8>, _>>());
        let known: Vec<u8> = numbers.flatten().collect();
        assert_eq!(ENDS.map(|(exit, _)| exit).to_vec(), known);
        assert!(!final_exits().contains(&143) && final_exits().contains(&17));
    }
}
