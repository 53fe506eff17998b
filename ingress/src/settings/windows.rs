//! The section `windows`.

use std::collections::BTreeMap;

use config::{Faults, Key, Node};
use proto::{
    PoolName, TargetName,
    window::{Days, Period, WindowError, Zone},
};

use crate::windows::{UnknownWindow, Windows};

/// Most parts of one window: it travels with every job.
const MOST_PERIODS: usize = 50;

/// Reads every window, whatever is wrong with the one before.
pub(super) fn read(node: Option<&Node>, faults: &mut Faults) -> Option<Windows> {
    let entries = super::section(node, faults)?;
    let read: Vec<Option<(String, Vec<Period>)>> =
        entries.into_iter().map(|(key, node)| window(key, node, faults)).collect();
    let windows: Option<BTreeMap<String, Vec<Period>>> = read.into_iter().collect();
    windows.map(Windows::new)
}

/// The names of the windows of a target: one, or several. What the section lacks is a fault, unless it has others.
pub(super) fn named(node: &Node, windows: Option<&Windows>, faults: &mut Faults) -> Option<proto::Window> {
    let names = joined(node, faults)?;
    let windows = windows?;
    match windows.named(&names) {
        Ok(window) => Some(window),
        Err(unknown @ UnknownWindow(_)) => {
            let known: Vec<String> = windows.names().map(|name| format!("`{name}`")).collect();
            let hint = match known.is_empty() {
                true => "declare it under `windows`".to_owned(),
                false => format!("declare it under `windows`, or use one of {}", known.join(", ")),
            };
            faults.push(node.fault(unknown.to_string()).hint(hint));
            None
        }
    }
}

fn window(key: &Key, node: &Node, faults: &mut Faults) -> Option<(String, Vec<Period>)> {
    if let Err(error) = TargetName::new(PoolName::default(), &key.text) {
        let hint = "rename the window, as in `windows: {nights: {…}}`: targets name several with commas";
        faults.push(node.fault(error.to_string()).hint(hint));
        return None;
    }
    let items: Vec<&Node> = node.items().collect();
    let nodes = if items.is_empty() { vec![node] } else { items };
    if nodes.len() > MOST_PERIODS {
        let fault = node.fault(format!("a window has at most {MOST_PERIODS} parts"));
        faults.push(fault.hint("split it: a target may name several windows"));
        return None;
    }
    let periods: Vec<Option<Period>> = nodes.into_iter().map(|node| period(node, faults)).collect();
    Some((key.text.clone(), periods.into_iter().collect::<Option<_>>()?))
}

fn period(node: &Node, faults: &mut Faults) -> Option<Period> {
    if !node.is_map() {
        let fault = node.fault("expected the times of a window");
        faults.push(
            fault.hint("write `{days: mon-fri, from: \"20:00\", to: \"06:00\", zone: Europe/Berlin}`, or a list of these"),
        );
        return None;
    }
    let before = faults.len();
    node.known_keys(&["days", "from", "to", "zone", "freeze"], faults);
    let freeze = node.get("freeze").map_or(Some(false), |node| node.read(faults));
    let zone = zone(node, faults);
    let days = node.get("days").and_then(|node| days(node, faults));
    let [from, to] = ["from", "to"].map(|key| node.get(key).and_then(|node| node.read::<String>(faults)));
    if faults.len() > before {
        return None;
    }
    match Period::new(freeze?, zone?, days, (from.as_deref(), to.as_deref())) {
        Ok(period) => Some(period),
        Err(error) => {
            refuse(place_of(&error, node, from.as_deref()), &error, faults);
            None
        }
    }
}

fn zone(node: &Node, faults: &mut Faults) -> Option<Zone> {
    let Some(zone) = node.get("zone") else {
        let fault = node.fault("the window does not say in which time zone");
        faults.push(fault.hint("add `zone:` with a name such as `Europe/Berlin`, or `UTC`"));
        return None;
    };
    let text: String = zone.read(faults)?;
    text.parse().map_err(|error| refuse(zone, &error, faults)).ok()
}

/// `mon-fri`, `sat,sun`, or a list of such.
fn days(node: &Node, faults: &mut Faults) -> Option<Days> {
    joined(node, faults)?.parse().map_err(|error| refuse(node, &error, faults)).ok()
}

/// A text, or the texts of a list with commas between them.
fn joined(node: &Node, faults: &mut Faults) -> Option<String> {
    let items: Vec<&Node> = node.items().collect();
    let nodes = if items.is_empty() { vec![node] } else { items };
    let texts: Vec<Option<String>> = nodes.into_iter().map(|node| node.read::<String>(faults)).collect();
    Some(texts.into_iter().collect::<Option<Vec<_>>>()?.join(","))
}

/// Where in a part of a window something is wrong.
fn place_of<'a>(error: &WindowError, node: &'a Node, from: Option<&str>) -> &'a Node {
    let key = match error {
        WindowError::Clock(text) | WindowError::Date(text) if from == Some(text.as_str()) => "from",
        WindowError::Clock(_)
        | WindowError::Date(_)
        | WindowError::Mixed
        | WindowError::Empty
        | WindowError::Reversed => "to",
        WindowError::Day(_) | WindowError::DatesWithDays => "days",
        WindowError::Zone(_) => "zone",
        WindowError::Half => return node,
    };
    node.get(key).unwrap_or(node)
}

fn refuse(at: &Node, error: &WindowError, faults: &mut Faults) {
    let hint = match error {
        WindowError::Day(_) => "write `mon-fri`, `sat,sun`, or leave `days` out for every day",
        WindowError::Clock(_) => "write the time as `20:00`, or a date as `2026-12-20`",
        WindowError::Date(_) => "write the date as `2026-12-20`",
        WindowError::Zone(_) => "write its name as in `Europe/Berlin`, `Asia/Shanghai` or `UTC`",
        WindowError::Half => "give both, or neither for the whole day",
        WindowError::Mixed => "write two times, as in `from: \"20:00\", to: \"06:00\"`, or two dates",
        WindowError::Empty => "leave both out for the whole day, or end it at another time",
        WindowError::Reversed => "write the first day as `from` and the last one as `to`",
        WindowError::DatesWithDays => "leave out `days`, or write times of day",
    };
    faults.push(at.fault(error.to_string()).hint(hint));
}
