//! Owns the reset of a group's offsets: the targets, the partitions, and the output. Kafka: `resetOffsets`,
//! `prepareOffsetsToReset`, `CsvUtils`.

use super::cluster::Groups;
use super::describe::{EARLIEST, LATEST, log_offsets};
use super::{
    ALL_TOPICS, BY_DURATION, DRY_RUN, EXECUTE, EXPORT, Ended, FROM_FILE, GROUP, Partition, SHIFT_BY, TO_CURRENT,
    TO_DATETIME, TO_EARLIEST, TO_LATEST, TO_OFFSET, TOOL, TOPIC, chosen, parse_partitions,
};
use crate::common::java;
use crate::tools::support::options::{Opt, Options};
use crate::tools::support::terminal::{self, Failure, Output};
use jiff::{SpanRelativeTo, Timestamp};
use std::collections::BTreeMap;
use std::io::Write;

const CLASS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

type Offsets = Vec<(Partition, i64)>;

pub(super) fn run(options: &Options, groups: &mut Groups, out: &mut Output) -> Result<(), Ended> {
    let mut plan: Vec<(String, Offsets)> = Vec::new();
    let mut ids = chosen(options, groups)?;
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let state = groups.describe(&id).map_err(Ended::Wrapped)?.state;
        if state != "Empty" && state != "Dead" {
            writeln!(
                out,
                "\nError: Assignments can only be reset if the group '{id}' is inactive, but the current state is {state}."
            )?;
            plan.push((id, Offsets::new()));
            continue;
        }
        let partitions = partitions(options, groups, &id)?;
        let mut offsets = prepare(options, groups, &id, partitions, out)?;
        java::partition_order(&mut offsets, 0, |((topic, partition), _)| (topic, *partition));
        if options.has(&EXECUTE) && !options.has(&DRY_RUN) {
            groups.commit(&id, &offsets).map_err(Ended::Wrapped)?;
        }
        plan.push((id, offsets));
    }
    java::hash_order(&mut plan, 0, |(id, _)| id);
    if options.has(&EXPORT) {
        // The command line names the only group.
        let with_group = options.values(&GROUP).len() != 1;
        for (id, offsets) in &plan {
            for ((topic, partition), offset) in offsets {
                if with_group {
                    write!(out, "{},", quoted(id))?;
                }
                writeln!(out, "{},{partition},{offset}", quoted(topic))?;
            }
        }
        writeln!(out)?;
        return Ok(());
    }
    if !plan.is_empty() {
        writeln!(out)?;
    }
    let mut row = |cells: [&str; 4]| {
        let [group, topic, partition, offset] = cells;
        write!(out, "{group:30} {topic:30} {partition:10} {offset:15}")
    };
    if !plan.is_empty() {
        row(["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"])?;
    }
    for (id, offsets) in &plan {
        for ((topic, partition), offset) in offsets {
            row([id, topic, &partition.to_string(), &offset.to_string()])?;
        }
    }
    Ok(())
}

/// The partitions that the command line names.
fn partitions(options: &Options, groups: &mut Groups, id: &str) -> Result<Vec<Partition>, Ended> {
    if options.has(&ALL_TOPICS) {
        return Ok(groups.offsets(id).map_err(Ended::Wrapped)?.into_keys().collect());
    }
    if !options.has(&TOPIC) {
        if options.has(&FROM_FILE) {
            return Ok(Vec::new());
        }
        return Err(TOOL.usage("One of the reset scopes should be defined: --all-topics, --topic.").into());
    }
    let mut partitions = Vec::new();
    for topic in options.values(&TOPIC) {
        if topic.contains(':') {
            partitions.extend(parse_partitions(topic)?);
        } else {
            partitions.extend(groups.partitions(topic).map_err(Ended::Wrapped)?);
        }
    }
    partitions.sort_unstable();
    partitions.dedup();
    Ok(partitions)
}

fn usage(error: impl std::fmt::Display) -> Ended {
    TOOL.usage(error.to_string()).into()
}

fn prepare(
    options: &Options,
    groups: &mut Groups,
    id: &str,
    partitions: Vec<Partition>,
    out: &mut Output,
) -> Result<Offsets, Ended> {
    let at = |groups: &mut Groups, partitions: &[Partition], time| -> Result<Offsets, Ended> {
        let offsets = log_offsets(groups, partitions, time).map_err(Ended::Wrapped)?;
        Ok(offsets.into_iter().collect())
    };
    let text = |opt: &Opt| options.value(opt).map(|text| text.unwrap_or_default().to_owned()).map_err(usage);
    if options.has(&TO_OFFSET) {
        let offset: i64 = options.required_number(&TO_OFFSET).map_err(usage)?;
        let wanted = partitions.into_iter().map(|partition| (partition, offset)).collect();
        return within_log(groups, wanted);
    }
    if options.has(&TO_EARLIEST) {
        return at(groups, &partitions, EARLIEST);
    }
    if options.has(&TO_LATEST) {
        return at(groups, &partitions, LATEST);
    }
    if options.has(&SHIFT_BY) {
        let by: i64 = options.required_number(&SHIFT_BY).map_err(usage)?;
        let committed = groups.offsets(id).map_err(Ended::Wrapped)?;
        let mut wanted = Offsets::new();
        for partition in partitions {
            let Some(offset) = committed.get(&partition) else {
                let (topic, number) = &partition;
                return Err(usage(format_args!(
                    "Cannot shift offset for partition {topic}-{number} since there is no current committed offset"
                )));
            };
            let shifted = offset.saturating_add(by);
            wanted.push((partition, shifted));
        }
        return within_log(groups, wanted);
    }
    if options.has(&TO_DATETIME) {
        return at_time(groups, &partitions, parse_datetime(&text(&TO_DATETIME)?)?, out);
    }
    if options.has(&BY_DURATION) {
        let back = parse_duration(&text(&BY_DURATION)?)?;
        return at_time(groups, &partitions, Timestamp::now().as_millisecond().saturating_sub(back), out);
    }
    if options.has(&FROM_FILE) {
        let mut plan = read_plan(options, &text(&FROM_FILE)?)?;
        let Some(wanted) = plan.remove(id) else {
            writeln!(out, "\nError: No reset plan for group {id} found")?;
            return Ok(Offsets::new());
        };
        return within_log(groups, wanted);
    }
    if options.has(&TO_CURRENT) {
        let committed = groups.offsets(id).map_err(Ended::Wrapped)?;
        let (with, without): (Vec<_>, Vec<_>) = partitions.into_iter().partition(|tp| committed.contains_key(tp));
        let mut offsets = at(groups, &without, LATEST)?;
        offsets.extend(with.into_iter().map(|partition| {
            let offset = committed[&partition];
            (partition, offset)
        }));
        return Ok(offsets);
    }
    Err(usage(
        "Option '[reset-offsets]' requires one of the following scenarios: [[to-offset], [to-current], [to-datetime], \
         [from-file], [by-duration], [to-earliest], [to-latest], [shift-by]]",
    ))
}

/// Offsets outside the log become its first or last.
fn within_log(groups: &mut Groups, wanted: Offsets) -> Result<Offsets, Ended> {
    let partitions: Vec<Partition> = wanted.iter().map(|(partition, _)| partition.clone()).collect();
    let first = log_offsets(groups, &partitions, EARLIEST).map_err(Ended::Wrapped)?;
    let last = log_offsets(groups, &partitions, LATEST).map_err(Ended::Wrapped)?;
    let mut offsets = Offsets::new();
    for (partition, offset) in wanted {
        let (topic, number) = &partition;
        let too = |what: &str, end: &str, value: i64| {
            let text = format!(
                "New offset ({offset}) is {what} than {end} offset for topic partition {topic}-{number}. Value will be set to {value}"
            );
            terminal::warn(CLASS, text);
            value
        };
        let offset = match (first.get(&partition), last.get(&partition)) {
            (_, Some(last)) if offset > *last => too("higher", "latest", *last),
            (Some(first), _) if offset < *first => too("lower", "earliest", *first),
            _ => offset,
        };
        offsets.push((partition, offset));
    }
    Ok(offsets)
}

/// The offsets at a time; the end of the log where every record is earlier.
fn at_time(groups: &mut Groups, partitions: &[Partition], time: i64, out: &mut Output) -> Result<Offsets, Ended> {
    let found = log_offsets(groups, partitions, time).map_err(Ended::Wrapped)?;
    let (none, some): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, offset)| *offset == -1);
    let late: Vec<Partition> = none.into_iter().map(|(partition, _)| partition).collect();
    for (topic, partition) in &late {
        writeln!(
            out,
            "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset."
        )?;
    }
    let mut offsets = some;
    offsets.extend(log_offsets(groups, &late, LATEST).map_err(Ended::Wrapped)?);
    Ok(offsets)
}

/// `YYYY-MM-DDThh:mm:ss.sss`, in UTC unless it names a zone.
fn parse_datetime(text: &str) -> Result<i64, Failure> {
    let has_zone = text.split_once('T').is_some_and(|(_, time)| time.contains(['+', '-', 'Z']));
    let zoned = if has_zone { text.to_owned() } else { format!("{text}Z") };
    let parsed: Result<Timestamp, _> = zoned.parse();
    parsed.map(|at| at.as_millisecond()).map_err(|_| {
        Failure::message(format_args!(
            "\nError: Executing consumer group command failed due to java.text.ParseException: Unparseable date: \"{text}\""
        ))
    })
}

/// `PnDTnHnMnS`, in milliseconds.
fn parse_duration(text: &str) -> Result<i64, Failure> {
    let is_iso = text.trim_start_matches(['+', '-']).starts_with(['P', 'p']);
    let parsed: Option<jiff::Span> = text.parse().ok().filter(|_| is_iso);
    let duration = parsed.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    duration.map(|duration| duration.as_millis() as i64).ok_or_else(|| {
        Failure::message("\nError: Executing consumer group command failed due to Text cannot be parsed to a Duration")
    })
}

// ---- CSV

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

/// Group, topic, partition and offset; the group is omitted where the command line names one.
fn read_plan(options: &Options, path: &str) -> Result<BTreeMap<String, Offsets>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::message(format_args!("\nError: Executing consumer group command failed due to {path}: {error}"))
    })?;
    let only = match options.values(&GROUP) {
        [one] => Some(one.as_str()),
        _ => None,
    };
    parse_plan(&text, only).ok_or_else(|| {
        Failure::message(format_args!(
            "\nError: Executing consumer group command failed due to a malformed line in {path}"
        ))
    })
}

fn parse_plan(text: &str, only: Option<&str>) -> Option<BTreeMap<String, Offsets>> {
    let mut plan: BTreeMap<String, Offsets> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<String> = fields(line)?;
        let (group, rest) = match (only, fields.as_slice()) {
            (Some(group), [_, _, _]) => (group, &fields[..]),
            (_, [group, _, _, _]) => (group.as_str(), &fields[1..]),
            _ => return None,
        };
        let [topic, partition, offset] = rest else { return None };
        let partition = (topic.clone(), partition.trim().parse().ok()?);
        plan.entry(group.to_owned()).or_default().push((partition, offset.trim().parse().ok()?));
    }
    Some(plan)
}

fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars().peekable();
    let mut is_quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => fields.last_mut()?.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => fields.last_mut()?.push(c),
        }
    }
    (!is_quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_have_the_group_or_leave_it_to_the_command_line() {
        let one = parse_plan("t,0,5\n\"a,b\",1,6\n", Some("g")).unwrap();
        assert_eq!(one["g"], [(("t".to_owned(), 0), 5), (("a,b".to_owned(), 1), 6)]);
        let many = parse_plan("g,t,0,5\nh,t,0,6", None).unwrap();
        assert_eq!((many["g"][0].1, many["h"][0].1), (5, 6));
        assert!(parse_plan("t,0,x", Some("g")).is_none());
        assert!(parse_plan("t,0,5", None).is_none());
        assert!(parse_plan("\"t,0,5", Some("g")).is_none());
    }

    #[test]
    fn times_are_utc_unless_they_say_a_zone() {
        assert_eq!(parse_datetime("1970-01-01T00:00:01.500").unwrap(), 1_500);
        assert_eq!(parse_datetime("1970-01-01T01:00:01.500+01:00").unwrap(), 1_500);
        assert!(parse_datetime("yesterday").is_err());
    }

    #[test]
    fn durations_have_days_of_24_hours() {
        assert_eq!(parse_duration("P1DT1H1M1.5S").unwrap(), 90_061_500);
        assert!(parse_duration("1 day").is_err());
    }
}
