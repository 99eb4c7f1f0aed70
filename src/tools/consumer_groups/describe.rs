//! Owns how groups are described: their offsets and lag, their members, their state. Kafka: the `print…` and `collect…`
//! methods of `ConsumerGroupCommand`.

use super::cluster::{Described, Groups};
use super::{Ended, MEMBERS, OFFSETS, Partition, STATE, VERBOSE, chosen};
use crate::common::java;
use crate::tools::get_offsets::AtTime;
use crate::tools::support::admin::AdminError;
use crate::tools::support::leaders;
use crate::tools::support::options::Options;
use crate::tools::support::terminal::{self, Output};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

const MISSING: &str = "-";

/// Columns are at least this wide.
const WIDTH: usize = 15;

pub(super) fn run(options: &Options, groups: &mut Groups, out: &mut Output) -> Result<(), Ended> {
    let mut described: BTreeMap<String, Described> = BTreeMap::new();
    for id in chosen(options, groups)? {
        let group = groups.describe(&id).map_err(Ended::Admin)?;
        described.insert(id, group);
    }
    let with_offsets = options.has(&OFFSETS) || !(options.has(&MEMBERS) || options.has(&STATE));
    if with_offsets {
        let mut rows = Vec::new();
        for (id, group) in &described {
            rows.push(offset_rows(groups, id, group)?);
        }
        for ((id, group), rows) in described.iter().zip(rows) {
            if has_something(id, &group.state, rows.len(), out)? {
                print_offsets(id, &rows, out)?;
            }
        }
    } else if options.has(&MEMBERS) {
        for (id, group) in &described {
            print_members(id, group, options.has(&VERBOSE), out)?;
        }
    } else {
        for (id, group) in &described {
            if has_something(id, &group.state, 1, out)? {
                print_state(id, group, out)?;
            }
        }
    }
    Ok(())
}

/// Prints the message for the group's state; false when there are no rows to show.
fn has_something(id: &str, state: &str, rows: usize, out: &mut Output) -> Result<bool, Ended> {
    match state {
        "Dead" => writeln!(out, "\nError: Consumer group '{id}' does not exist.")?,
        "Empty" => {
            out.flush()?;
            terminal::say(format_args!("\nConsumer group '{id}' has no active members."));
        }
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            out.flush()?;
            terminal::say(format_args!("\nWarning: Consumer group '{id}' is rebalancing."));
        }
        _ => {}
    }
    Ok(state != "Dead" && rows > 0)
}

// ---- offsets

/// One partition of a group, or a member without partitions.
struct OffsetRow {
    partition: Option<Partition>,
    offset: Option<i64>,
    end: Option<i64>,
    consumer: String,
    host: String,
    client: String,
}

fn offset_rows(groups: &mut Groups, id: &str, group: &Described) -> Result<Vec<OffsetRow>, Ended> {
    let committed = groups.offsets(id).map_err(Ended::Wrapped)?;
    let mut rows = Vec::new();
    let mut assigned: BTreeSet<&Partition> = BTreeSet::new();
    let mut members: Vec<_> = group.members.iter().filter(|member| !member.assignment.is_empty()).collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.assignment.len()));
    for member in members {
        assigned.extend(&member.assignment);
        let by = [&member.id, &member.host, &member.client_id].map(String::clone);
        rows.extend(rows_of(groups, member.assignment.clone(), &committed, &by)?);
    }
    let unassigned: Vec<Partition> = committed.keys().filter(|tp| !assigned.contains(tp)).cloned().collect();
    if !unassigned.is_empty() {
        let nobody = [MISSING; 3].map(str::to_owned);
        rows.extend(rows_of(groups, unassigned, &committed, &nobody)?);
    }
    Ok(rows)
}

fn rows_of(
    groups: &mut Groups,
    mut partitions: Vec<Partition>,
    committed: &BTreeMap<Partition, i64>,
    [consumer, host, client]: &[String; 3],
) -> Result<Vec<OffsetRow>, Ended> {
    // Kafka sorts them, and then puts them into a hash map.
    partitions.sort_by_key(|(_, partition)| *partition);
    java::partition_order(&mut partitions, 0, |(topic, partition)| (topic, *partition));
    let ends = log_offsets(groups, &partitions, LATEST).map_err(Ended::Wrapped)?;
    let rows = partitions.into_iter().map(|partition| OffsetRow {
        offset: committed.get(&partition).copied(),
        end: ends.get(&partition).copied(),
        partition: Some(partition),
        consumer: consumer.clone(),
        host: host.clone(),
        client: client.clone(),
    });
    Ok(rows.collect())
}

/// Marks of ListOffsets in place of a time.
pub(super) const LATEST: i64 = -1;
pub(super) const EARLIEST: i64 = -2;

/// The offsets of partitions at a time or mark; the first error fails all.
pub(super) fn log_offsets(
    groups: &mut Groups,
    partitions: &[Partition],
    at: i64,
) -> Result<BTreeMap<Partition, i64>, AdminError> {
    let told = leaders::ask(&mut groups.admin, &AtTime(at), partitions.iter().cloned());
    told.into_iter().map(|(partition, offset)| offset.map(|offset| (partition, offset))).collect()
}

fn print_offsets(id: &str, rows: &[OffsetRow], out: &mut Output) -> Result<(), Ended> {
    let widest = |text: &dyn Fn(&OffsetRow) -> usize| rows.iter().map(text).max().unwrap_or(0).max(WIDTH);
    let topic = |row: &OffsetRow| row.partition.as_ref().map_or(MISSING, |(topic, _)| topic).to_owned();
    let (group_w, topic_w) = (id.chars().count().max(WIDTH), widest(&|row| topic(row).chars().count()));
    let (consumer_w, host_w) = (widest(&|row| row.consumer.chars().count()), widest(&|row| row.host.chars().count()));
    let mut line = |cells: [&str; 9]| {
        let [group, topic, partition, current, end, lag, consumer, host, client] = cells;
        write!(
            out,
            "\n{group:group_w$} {topic:topic_w$} {partition:10} {current:15} {end:15} {lag:15} {consumer:consumer_w$} \
             {host:host_w$} {client}"
        )
    };
    line([
        "GROUP",
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ])?;
    for row in rows {
        let shown = |number: Option<i64>| number.map_or_else(|| MISSING.to_owned(), |n| n.to_string());
        let partition = row.partition.as_ref().map(|(_, partition)| i64::from(*partition));
        let lag = row.offset.filter(|offset| *offset != -1).zip(row.end).map(|(offset, end)| end - offset);
        line([
            id,
            &topic(row),
            &shown(partition),
            &shown(row.offset),
            &shown(row.end),
            &shown(lag),
            &row.consumer,
            &row.host,
            &row.client,
        ])?;
    }
    Ok(())
}

// ---- members

fn print_members(id: &str, group: &Described, verbose: bool, out: &mut Output) -> Result<(), Ended> {
    let is_shown = has_something(id, &group.state, group.members.len(), out)?;
    let widest = |least: usize, text: &dyn Fn(&super::cluster::DescribedMember) -> usize| {
        let widest = group.members.iter().filter(|_| is_shown).map(text).max();
        widest.unwrap_or(0).max(least)
    };
    let group_w = if is_shown { id.chars().count().max(WIDTH) } else { WIDTH };
    let consumer_w = widest(WIDTH, &|m| m.id.chars().count());
    let instance_w = widest(17, &|m| m.instance_id.chars().count());
    let (host_w, client_w) =
        (widest(WIDTH, &|m| m.host.chars().count()), widest(WIDTH, &|m| m.client_id.chars().count()));
    let with_instance = is_shown && group.members.iter().any(|member| !member.instance_id.is_empty());
    writeln!(out)?;
    let mut row = |cells: [&str; 6], last: &str| {
        let [group, consumer, instance, host, client, partitions] = cells;
        write!(out, "{group:group_w$} {consumer:consumer_w$} ")?;
        if with_instance {
            write!(out, "{instance:instance_w$} ")?;
        }
        writeln!(out, "{host:host_w$} {client:client_w$} {partitions:15} {last}")
    };
    let assignment = if verbose { "ASSIGNMENT" } else { "" };
    row(["GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS"], assignment)?;
    for member in &group.members {
        let partitions = member.assignment.len().to_string();
        let assignment = if verbose { shown_assignment(&member.assignment) } else { String::new() };
        row([id, &member.id, &member.instance_id, &member.host, &member.client_id, &partitions], &assignment)?;
    }
    Ok(())
}

/// The partitions of each topic in brackets, in the order of their texts.
fn shown_assignment(assignment: &[Partition]) -> String {
    if assignment.is_empty() {
        return MISSING.to_owned();
    }
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (topic, partition) in assignment {
        topics.entry(topic).or_default().push(partition.to_string());
    }
    let mut shown: Vec<String> = topics
        .into_values()
        .map(|mut partitions| {
            partitions.sort();
            format!("({})", partitions.join(","))
        })
        .collect();
    shown.sort();
    shown.join(", ")
}

// ---- state

fn print_state(id: &str, group: &Described, out: &mut Output) -> Result<(), Ended> {
    let node = &group.coordinator;
    let coordinator = format!("{}:{}  ({})", node.host, node.port, node.id);
    // The group gets the width of the coordinator: a mix-up in Kafka.
    let width = coordinator.len().max(25);
    let members = group.members.len().to_string();
    for [group, coordinator, assignor, state, members] in [
        ["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"],
        [id, &coordinator, &group.assignor, &group.state, &members],
    ] {
        write!(out, "\n{group:width$} {coordinator:25} {assignor:20} {state:15} {members}")?;
    }
    writeln!(out)?;
    Ok(())
}
