//! What a run heeds before it begins something: from flags to a gate, and what to say when it is shut.

use super::{arguments::Gates, failure::Failure, listen::secret};
use crate::{
    check,
    cluster::Cluster,
    door::{AlertGate, Gate, Hold},
    engine::Home,
    plan::Plan,
    probe::{Budget, BudgetError},
    report, step,
    web::{Address, Client},
    window::{Calendar, WindowError},
};

/// Reads the flags; no cluster is needed for that.
pub fn read(arguments: &Gates) -> Result<Gate, Failure> {
    let calendar =
        Calendar::read(&arguments.window, &arguments.freeze).map_err(|error| unreadable(arguments, &error))?;
    let alerts = alerts(arguments)?;
    let loss = arguments.gate_loss.as_deref().map(budget).transpose()?;
    Ok(Gate { calendar, alerts, loss })
}

fn budget(text: &str) -> Result<Budget, Failure> {
    text.parse().map_err(|error: BudgetError| Failure::usage(format!("`--gate-loss {text}`: {error}")))
}

/// Refuses a budget that nobody could look at: a gate that cannot be asked must not be open.
pub fn check_probes(home: &Home, plan: &Plan) -> Result<(), Failure> {
    let Some(budget) = home.gate.loss.filter(|_| plan.roll().is_some_and(|roll| roll.probe.is_none())) else {
        return Ok(());
    };
    Err(Failure::usage(format!("`--gate-loss {budget}` needs probes, and the plan has none"))
        .why("nothing was changed")
        .now("plan with --probe-image NAME:TAG, an image of this program; or go without --gate-loss"))
}

fn alerts(arguments: &Gates) -> Result<Option<AlertGate>, Failure> {
    let (address, query) = match arguments.alert_gate.as_slice() {
        [] => return Ok(None),
        [address, query] => (address, query),
        _ => return Err(Failure::usage("`--alert-gate` can be given once: write one query that holds all")),
    };
    let address = Address::read(address).map_err(|error| {
        Failure::usage("`--alert-gate` has no address that can be used").evidence([error.to_string()])
    })?;
    let token = arguments.alert_token_file.as_deref().map(secret).transpose()?;
    Ok(Some(AlertGate::new(Client::new(address, token), query.clone())))
}

fn unreadable(arguments: &Gates, error: &WindowError) -> Failure {
    let flag = if arguments.window.contains(&error.text) { "--window" } else { "--freeze" };
    let place = format!("{}^ {}", " ".repeat(error.column - 1), error.what);
    Failure::usage(format!("`{flag}` cannot be read at column {}", error.column))
        .evidence([error.text.clone(), place])
        .why("nothing was changed")
        .now(format!("write: {}", error.instead))
}

/// Refuses to begin or go on outside a window, or by a clock that nobody can rely on.
pub async fn check_now(home: &Home, cluster: &Cluster) -> Result<(), Failure> {
    let calendar = &home.gate.calendar;
    if !calendar.has_windows() {
        return Ok(());
    }
    let server = cluster.clock().await?;
    if let Some(finding) = check::clocks(home.faults.now(), server) {
        return Err(Failure::new(check::BLOCKED, "CU-C030", finding.title)
            .evidence(finding.evidence)
            .why(format!("{}; nothing was changed", finding.why))
            .now(finding.now));
    }
    calendar.may_begin(home.faults.now(), std::time::Duration::ZERO).map(drop).map_err(|shut| {
        Failure::new(9, "CU-E031", shut.to_string())
            .why("a run begins and goes on inside its windows only; nothing was changed")
            .now("the same command in the next window")
    })
}

/// Refuses windows that are all too short for a node: the run would never come to its end.
pub fn check_length(home: &Home, plan: &Plan, done: &[u64]) -> Result<(), Failure> {
    let Some((roll, longest)) = plan.roll().zip(home.gate.calendar.longest(home.faults.now())) else { return Ok(()) };
    let needs = step::expected_for_a_node(done, roll);
    if needs <= longest {
        return Ok(());
    }
    let words = |seconds: std::time::Duration| report::duration(seconds.as_secs());
    Err(Failure::usage("no window is long enough for a node")
        .evidence([
            format!("the longest window: {}", words(longest)),
            format!("a node may take:    {} (ready in time, and stable)", words(needs)),
        ])
        .why("no node would ever be started; nothing was changed")
        .now("a longer --window, or shorter --ready-within and --stable-for"))
}

/// What to tell when a run stopped at its gate; nothing of a pause, which someone asked for.
pub fn held(hold: &Hold, run: &str) -> Option<Failure> {
    let evidence = super::failure::causes(hold);
    let next = hold.now(run);
    let (code, why, now) = match hold {
        Hold::PauseWanted => return None,
        Hold::Shut(_) => {
            ("CU-R009", "stopped where it can go on; no node is half done", format!("in the next window: {next}"))
        }
        Hold::NotApproved { .. } => (
            "CU-R010",
            "waits for its approval; nothing was changed",
            format!("{next}, then calico-upgrader resume {run}"),
        ),
        Hold::Alarm(_) => (
            "CU-R012",
            "stopped before the next node; no node is half done",
            format!("once the alerts are gone: {next}"),
        ),
    };
    let why = format!("run {run} {why}");
    Some(Failure::new(hold.exit(), code, hold.to_string()).evidence(evidence).why(why).now(now))
}
