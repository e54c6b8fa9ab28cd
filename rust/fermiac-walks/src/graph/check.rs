//! Validation of the arrays of a graph, and facts about them.

use super::build::sorted_copy;
use super::{IdSlice, View, poll_at};
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};

/// Rows that one task reads.
const ROWS: usize = 1 << 13;
/// Rows in a sample.
const SAMPLE: usize = 4096;
/// Weights of the two directions of an edge may differ by rounding.
const SAME: f64 = 1e-9;

/// The part of a graph that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rigour {
    /// All rows.
    Full,
    /// A few thousand rows, evenly spaced.
    Sample,
}

/// Facts about the checked rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Each row is in ascending order.
    pub sorted: bool,
    /// Some edge is repeated in its row.
    pub repeated: bool,
    /// The number of loops.
    pub loops: u64,
}

/// Reads the rows, and refuses invalid ones. `signed` says that the ids were signed numbers
/// before, for the messages.
pub fn survey(
    view: View<'_>,
    rigour: Rigour,
    signed: bool,
    context: &Context<'_>,
) -> Result<Survey> {
    let n = view.n_nodes();
    let chosen = if rigour == Rigour::Full { n } else { n.min(SAMPLE) };
    let mut all = Survey { sorted: true, repeated: false, loops: 0 };
    context.ordered(
        chosen.div_ceil(ROWS),
        |task| {
            let mut found = Survey { sorted: true, repeated: false, loops: 0 };
            let mut scratch = Vec::new();
            for i in task * ROWS..((task + 1) * ROWS).min(chosen) {
                // Evenly spaced; the product does not overflow for any graph that fits in memory.
                let node = if chosen == n { i } else { i * (n / chosen) };
                survey_row(view, node, signed, &mut found, &mut scratch)?;
            }
            Ok(found)
        },
        |_, found| {
            all.sorted &= found.sorted;
            all.repeated |= found.repeated;
            all.loops += found.loops;
            Ok(())
        },
    )?;
    Ok(all)
}

fn survey_row(
    view: View<'_>,
    node: usize,
    signed: bool,
    found: &mut Survey,
    scratch: &mut Vec<usize>,
) -> Result<()> {
    let (start, end) = (view.starts[node], view.starts[node + 1]);
    if end < start || end > view.ids.len() as u64 {
        let why = format!(
            "it goes from {} to {} at node {node}, and ends with {}; numbers that never fall are \
             needed",
            start as i64,
            end as i64,
            view.ids.len()
        );
        return Err(Error::argument("indptr", why));
    }
    let n = view.n_nodes();
    let (mut sorted, mut repeated, mut last) = (true, false, 0);
    for place in start as usize..end as usize {
        let to = view.ids.at(place);
        if to >= n {
            let why = format!(
                "the edge at place {place} leads from node {node} to node {}; nodes are numbered \
                 from 0 to {}",
                shown(view.ids, to, signed),
                n - 1
            );
            return Err(Error::argument("indices", why));
        }
        found.loops += u64::from(to == node);
        if place > start as usize {
            sorted &= last <= to;
            repeated |= last == to;
        }
        last = to;
        if let Some(weights) = view.weights {
            let weight = weights.at(place);
            if !(weight > 0.0 && weight.is_finite()) {
                let why = format!(
                    "the edge from node {node} to node {to} (place {place}) has the weight \
                     {weight}; positive, finite weights are needed; leave out edges that do not \
                     count"
                );
                return Err(Error::argument("weights", why));
            }
        }
    }
    if !sorted && !repeated {
        scratch.clear();
        scratch.extend(view.neighbours(node));
        scratch.sort_unstable();
        repeated = scratch.windows(2).any(|pair| pair[0] == pair[1]);
    }
    found.sorted &= sorted;
    found.repeated |= repeated;
    Ok(())
}

/// The id as the user gave it.
fn shown(ids: IdSlice<'_>, id: usize, signed: bool) -> i128 {
    match ids {
        IdSlice::Short(_) if signed => i128::from(id as u32 as i32),
        IdSlice::Long(_) if signed => i128::from(id as i64),
        _ => id as i128,
    }
}

/// The sum of the weights of each row, or its length without weights.
pub fn strengths(view: View<'_>, context: &Context<'_>) -> Result<Vec<f64>> {
    let n = view.n_nodes();
    let mut all = Vec::with_capacity(n);
    context.ordered(
        n.div_ceil(ROWS),
        |task| {
            let rows = task * ROWS..((task + 1) * ROWS).min(n);
            Ok(rows
                .map(|node| {
                    let (start, degree) = view.row(node);
                    view.weights.map_or(degree as f64, |weights| {
                        (start..start + degree).map(|place| weights.at(place)).sum()
                    })
                })
                .collect::<Vec<f64>>())
        },
        |_, part| {
            all.extend(part);
            Ok(())
        },
    )?;
    Ok(all)
}

/// An edge that differs from its reverse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneWay {
    /// Its start.
    pub from: usize,
    /// Its end.
    pub to: usize,
    /// Its weight, or its multiplicity; 0 if there is only the reverse.
    pub there: f64,
    /// The same of the reverse.
    pub back: f64,
}

/// The first edge whose reverse is missing or has another weight (by more than rounding; repeated
/// edges count by their sum). `sorted` says that all rows are in ascending order.
///
/// Row by row, the entries above the diagonal meet those below it in the order of the latter, so
/// that one pass with a cursor for each row compares all of them.
pub fn one_way(view: View<'_>, sorted: bool, context: &Context<'_>) -> Result<Option<OneWay>> {
    if sorted {
        return first_one_way(view, context);
    }
    first_one_way(sorted_copy(view, context)?.view(), context)
}

fn first_one_way(view: View<'_>, context: &Context<'_>) -> Result<Option<OneWay>> {
    let n = view.n_nodes();
    let mut next = view.starts[..n].to_vec();
    let weight = |place: usize| view.weights.map_or(1.0, |weights| weights.at(place));
    for from in 0..n {
        poll_at(context, from, 4096)?;
        let (start, degree) = view.row(from);
        let end = start + degree;
        let mut place = next[from] as usize;
        // Entries below the diagonal that were not met have no reverse.
        if place < end && view.ids.at(place) < from {
            let to = view.ids.at(place);
            return Ok(Some(OneWay { from, to, there: weight(place), back: 0.0 }));
        }
        while place < end && view.ids.at(place) == from {
            place += 1;
        }
        while place < end {
            let to = view.ids.at(place);
            let mut there = 0.0;
            while place < end && view.ids.at(place) == to {
                there += weight(place);
                place += 1;
            }
            let stop = view.starts[to + 1] as usize;
            let mut cursor = next[to] as usize;
            if cursor < stop && view.ids.at(cursor) < from {
                let (from, to, there) = (to, view.ids.at(cursor), weight(cursor));
                return Ok(Some(OneWay { from, to, there, back: 0.0 }));
            }
            let mut back = 0.0;
            while cursor < stop && view.ids.at(cursor) == from {
                back += weight(cursor);
                cursor += 1;
            }
            next[to] = cursor as u64;
            if (there - back).abs() > SAME * there.max(back) {
                return Ok(Some(OneWay { from, to, there, back }));
            }
        }
    }
    Ok(None)
}
