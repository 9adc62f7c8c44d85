//! Import cycles between modules.
//!
//! At each level the modules beside each other are compared, each with everything below it: if
//! `a::x` imports `b` and `b` imports `a::y`, then `a` and `b` are a cycle. The module above them
//! is compared with them as `self`; only imports between a parent and its own child do not count.
//! Neither do those of tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{facts::Written, rules::Finding, sources::Workspace};

/// From one module to another, and every place that makes it so.
type Edges = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Cycles are named `above: a, b`; their size is the number of edges among their modules.
pub fn cycles(workspace: &Workspace) -> Vec<Finding> {
    let mut levels: BTreeMap<Vec<String>, Edges> = BTreeMap::new();
    for import in workspace.uses() {
        let Some(to) = &import.target.module else {
            continue;
        };
        // A lone name that is a module's is a variable.
        let is_lone_name =
            import.written.written == Written::Elsewhere && import.written.segments.len() == 1;
        if import.from[0] != to[0] || (is_lone_name && *to == import.target.path) {
            continue;
        }
        if let Some((above, from, to)) = edge(import.from, to) {
            let place = format!(
                "{}:{} {}",
                import.file.path,
                import.written.line,
                import.written.segments.join("::")
            );
            let edges = levels.entry(above.to_vec()).or_default();
            edges
                .entry(from.to_owned())
                .or_default()
                .entry(to.to_owned())
                .or_default()
                .push(place);
        }
    }
    let components = levels.iter().flat_map(|(above, edges)| {
        let components = components(edges).into_iter();
        components.map(move |component| describe(above, edges, &component))
    });
    components.collect()
}

/// Where two modules part: what is above both, and the two beside each other; `None` between a
/// parent and its own child.
fn edge<'a>(from: &'a [String], to: &'a [String]) -> Option<(&'a [String], &'a str, &'a str)> {
    let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let (above, below_from, below_to) = (&from[..shared], &from[shared..], &to[shared..]);
    match (below_from, below_to) {
        ([from, ..], [to, ..]) => Some((above, from, to)),
        ([from, _, ..], []) => Some((above, from, "self")),
        ([], [to, _, ..]) => Some((above, "self", to)),
        _ => None,
    }
}

/// Sets of modules of which each leads to each.
fn components(edges: &Edges) -> Vec<BTreeSet<&String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = edges
        .keys()
        .map(|from| (from, reachable(edges, from)))
        .collect();
    let mut found: Vec<BTreeSet<&String>> = Vec::new();
    for (from, to) in &reach {
        if to.contains(from) && !found.iter().any(|component| component.contains(from)) {
            let component = to
                .iter()
                .filter(|name| reach.get(*name).is_some_and(|back| back.contains(from)));
            found.push(component.copied().collect());
        }
    }
    found
}

fn reachable<'a>(edges: &'a Edges, from: &str) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = edges
        .get(from)
        .into_iter()
        .flat_map(BTreeMap::keys)
        .collect();
    while let Some(name) = next.pop() {
        if found.insert(name) {
            next.extend(edges.get(name).into_iter().flat_map(BTreeMap::keys));
        }
    }
    found
}

/// The shortest chain, then each edge among the modules with the first place that makes it.
fn describe(above: &[String], edges: &Edges, component: &BTreeSet<&String>) -> Finding {
    let above = above.join("::");
    let chain = component
        .iter()
        .map(|from| way_back(edges, from))
        .min_by_key(Vec::len)
        .unwrap_or_default();
    let mut detail = chain.join(" → ");
    let mut size = 0;
    for from in component {
        for (to, places) in edges[*from].iter().filter(|(to, _)| component.contains(to)) {
            size += 1;
            let others = if places.len() > 1 {
                format!(", and {} more", places.len() - 1)
            } else {
                String::new()
            };
            detail.push_str(&format!("\n    {from} → {to}: {}{others}", places[0]));
        }
    }
    let names: Vec<&str> = component.iter().map(|name| name.as_str()).collect();
    Finding {
        name: format!("{above}: {}", names.join(", ")),
        size,
        detail,
    }
}

/// The shortest way from a module to itself.
fn way_back(edges: &Edges, from: &str) -> Vec<String> {
    let mut ways = VecDeque::from([vec![from.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for to in way
            .last()
            .and_then(|last| edges.get(last))
            .into_iter()
            .flat_map(BTreeMap::keys)
        {
            let longer = [way.as_slice(), std::slice::from_ref(to)].concat();
            if to == from {
                return longer;
            }
            if seen.insert(to) {
                ways.push_back(longer);
            }
        }
    }
    Vec::new()
}
