//! The three states of every field that is not the same everywhere, what the plan does with it, and who holds it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    planned::place,
    text::{clean, shorten, table},
};
use crate::{
    plan::{Decision, Holder, Ownership, Verdict},
    resource::{ObjectRef, masked_field},
};

/// From this width on the three values stand side by side.
const WIDE: u16 = 140;

/// One field; secrets are hidden.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiffRow {
    pub object: ObjectRef,
    /// The exact place, in the writing of kubectl; empty for the whole object.
    pub path: String,
    /// `KIND/NAME:PATH`, as --keep, --take and a file of decisions name it.
    pub field: String,
    pub shipped: Option<Value>,
    pub live: Option<Value>,
    pub new: Option<Value>,
    pub plan: Verdict,
    /// The value that the plan makes of it.
    pub after: Option<Value>,
    pub holder: Holder,
}

/// The releases that are compared.
#[derive(Clone, Debug)]
pub struct DiffTitle {
    pub from: String,
    pub to: String,
}

/// Makes the rows, without a secret in them.
pub fn diff_rows(decisions: &[Decision], ownership: &BTreeMap<ObjectRef, Ownership>) -> Vec<DiffRow> {
    let row = |one: &Decision| {
        let shown = |value: &Option<Value>| value.as_ref().map(|value| masked_field(&one.object, &one.path, value));
        let holder = match (ownership.get(&one.object), one.path.is_empty()) {
            (_, true) | (None, false) => Holder::Nobody,
            (Some(owned), false) => owned.holder(&one.path, one.live.as_ref()),
        };
        DiffRow {
            object: one.object.clone(),
            path: one.path.clone(),
            field: one.field(),
            shipped: shown(&one.base),
            live: shown(&one.live),
            new: shown(&one.new),
            plan: one.verdict,
            after: shown(&one.after),
            holder,
        }
    };
    decisions.iter().map(row).collect()
}

/// What the plan does, as one says it to the operator.
fn plan_words(row: &DiffRow) -> String {
    match row.plan {
        Verdict::Follows => "follows the release".to_owned(),
        Verdict::Added => "added".to_owned(),
        Verdict::Removed => "removed".to_owned(),
        Verdict::AlreadyThere => "as it is, the release has the same".to_owned(),
        Verdict::Kept => "kept".to_owned(),
        Verdict::Asked => "asked: --keep or --take".to_owned(),
        Verdict::KeptAsSaid => "kept, as you said".to_owned(),
        Verdict::TakenAsSaid => "taken from the release, as you said".to_owned(),
        Verdict::Stays => "stays while nodes of the old release run".to_owned(),
        Verdict::LeftAlone => "left alone".to_owned(),
    }
}

fn holder_words(holder: &Holder) -> String {
    match holder {
        Holder::Managers(names) => names.join(", "),
        Holder::Applied => "applied (in last-applied-configuration)".to_owned(),
        Holder::EditedLater => "edited later (not in last-applied-configuration)".to_owned(),
        Holder::Nobody => "nobody".to_owned(),
        Holder::Unknown => "unknown (server has no field owners)".to_owned(),
    }
}

fn value_words(value: &Option<Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) if !text.is_empty() && !text.contains(['\n', '\t']) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// The fields for a terminal, object by object: side by side where it is wide, else under each other.
pub fn diff_text(title: &DiffTitle, rows: &[DiffRow], width: u16) -> String {
    let mut out = format!("Shipped  Calico {}\nNew      Calico {}\n", title.from, title.to);
    if rows.is_empty() {
        out.push_str("\nNo field differs.\n");
    }
    for rows in rows.chunk_by(|one, other| one.object == other.object) {
        out.push_str(&format!("\n{}\n", clean(&rows[0].object.to_string())));
        out.push_str(&if width >= WIDE { side_by_side(rows, width) } else { stacked(rows, width) });
    }
    out
}

fn side_by_side(rows: &[DiffRow], width: u16) -> String {
    let cells = rows.iter().map(|row| {
        let values = [&row.shipped, &row.live, &row.new].map(|value| shorten(&value_words(value), 200));
        let [shipped, live, new] = values;
        vec![place_words(row), shipped, live, new, plan_words(row), holder_words(&row.holder)]
    });
    table(&["FIELD", "SHIPPED", "LIVE", "NEW", "PLAN", "HELD BY"], cells.collect(), width)
}

fn place_words(row: &DiffRow) -> String {
    if row.path.is_empty() { "the whole object".to_owned() } else { place(&row.path) }
}

fn stacked(rows: &[DiffRow], width: u16) -> String {
    let room = usize::from(width).saturating_sub(14).max(26);
    let mut out = String::new();
    for row in rows {
        out.push_str(&format!("  {}\n", shorten(&place_words(row), room + 10)));
        for (label, text) in [
            ("shipped", value_words(&row.shipped)),
            ("live", value_words(&row.live)),
            ("new", value_words(&row.new)),
            ("plan", plan_words(row)),
            ("held by", holder_words(&row.holder)),
        ] {
            out.push_str(&format!("    {label:<9} {}\n", shorten(&text, room)));
        }
        if row.plan == Verdict::Asked {
            out.push_str(&format!("    field     '{}'\n", clean(&row.field)));
        }
    }
    out
}

/// The fields for a change ticket.
pub fn diff_markdown(title: &DiffTitle, rows: &[DiffRow]) -> String {
    let escape = |text: &str| clean(text).replace('|', "\\|").replace('<', "&lt;").replace('\n', " ");
    let mut out = format!(
        "# Calico {} → {}, field by field\n\n| field | shipped | live | new | plan | held by |\n|---|---|---|---|---|---|\n",
        title.from, title.to
    );
    for row in rows {
        let values = [&row.shipped, &row.live, &row.new].map(|value| escape(&value_words(value)));
        let last = [escape(&plan_words(row)), escape(&holder_words(&row.holder))];
        out.push_str(&format!("| {} | {} | {} |\n", escape(&row.field), values.join(" | "), last.join(" | ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind;
    use serde_json::json;

    fn rows() -> Vec<DiffRow> {
        let object = ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node");
        let decision = |path: &str, base: Option<Value>, live: Option<Value>, new: Option<Value>, verdict| Decision {
            object: object.clone(),
            path: format!("spec.template.spec.containers[calico-node].{path}"),
            base,
            after: live.clone(),
            live,
            new,
            verdict,
        };
        let text = |text: &str| Some(json!(text));
        let all = [
            decision("env[FELIX_IPINIPMTU].value", text("1440"), text("1430"), text("1500"), Verdict::Asked),
            decision("env[TYPHA_TOKEN].value", text("a"), text("canary"), text("b"), Verdict::Kept),
            decision("command", None, text(&"long\u{1b}[31m ".repeat(60)), None, Verdict::Kept),
        ];
        diff_rows(&all, &BTreeMap::new())
    }

    #[test]
    fn a_narrow_terminal_gets_the_values_under_each_other_and_no_line_is_too_long() {
        let title = DiffTitle { from: "v2.2.1".to_owned(), to: "v2.6.12".to_owned() };
        let narrow = diff_text(&title, &rows(), 80);
        let block = "  calico-node env FELIX_IPINIPMTU\n    shipped   1440\n    live      1430\n    new       1500\n    plan      asked";
        assert!(narrow.contains(block), "{narrow}");
        let flag = "'DaemonSet/calico-node:spec.template.spec.containers[calico-node].env[FELIX_IPINIPMTU].value'";
        assert!(narrow.contains(flag), "{narrow}");
        // Only what is to be copied may be longer.
        assert!(narrow.lines().all(|line| line.chars().count() <= 80 || line.contains(flag)), "{narrow}");
        assert!(diff_text(&title, &rows(), 160).contains("FIELD"));
    }

    #[test]
    fn no_secret_and_no_control_character_leaves_in_any_form() {
        let title = DiffTitle { from: "v2.2.1".to_owned(), to: "v2.6.12".to_owned() };
        let json = serde_json::to_string(&rows()).unwrap();
        for text in
            [diff_text(&title, &rows(), 80), diff_text(&title, &rows(), 200), diff_markdown(&title, &rows()), json]
        {
            assert!(!text.contains("canary") && text.contains("(hidden)") && !text.contains('\u{1b}'), "{text}");
        }
    }
}
