//! `zurau reassign-partitions`: moves replicas to other brokers and log directories, and shows their progress. Kafka:
//! `org.apache.kafka.tools.reassign.ReassignPartitionsCommand`, kafka-reassign-partitions.sh.
//! One difference from Kafka's tool, which has a bug there: `--cancel` also cancels a move that only adds replicas.

mod calls;
mod plan;

use self::calls::Settings;
use self::plan::{Assignments, DirMove, Replica, Wanted, command_failed, joined, partition_name, replica_name};
pub(super) use self::plan::{Thrown, array, field, integer, string};
use super::support::admin::{Admin, AdminError, Node};
use super::support::client_properties::{self, Properties};
use super::support::leaders::Partition;
use super::support::options::{Opt, OptionError, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use crate::common::java;
use crate::common::{BrokerId, ErrorCode};
use crate::controller::topics::{self, Candidate, Start};
use crate::protocol::messages::metadata_response::MetadataResponseTopic;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const VERIFY: Opt =
    Opt::flag("verify", "Tell how far the moves of --reassignment-json-file are. Throttles go when they are done.");
const GENERATE: Opt = Opt::flag("generate", "Propose an assignment. Nothing is moved.");
const EXECUTE: Opt = Opt::flag("execute", "Start the moves of --reassignment-json-file.");
const CANCEL: Opt = Opt::flag("cancel", "Take back the moves of --reassignment-json-file that are under way.");
const LIST: Opt = Opt::flag("list", "List all moves that are under way.");
const BOOTSTRAP_SERVER: Opt =
    Opt::with("bootstrap-server", "String: Server(s) to use for bootstrapping", "REQUIRED: brokers to ask first.");
const COMMAND_CONFIG: Opt =
    Opt::with("command-config", "String: Admin client property file", "A file of client properties.");
const REASSIGNMENT_JSON_FILE: Opt = Opt::with(
    "reassignment-json-file",
    "String: manual assignment json file path",
    "A file that names the replicas of partitions, in the form\n\
     {\"partitions\":\n[{\"topic\": \"foo\", \"partition\": 1, \"replicas\": [1,2,3], \"log_dirs\": [\"dir1\",\"dir2\",\"dir3\"] }],\n\
     \"version\":1\n}\nlog_dirs may be left out; a directory is an absolute path, or \"any\".",
);
const TOPICS_TO_MOVE_JSON_FILE: Opt = Opt::with(
    "topics-to-move-json-file",
    "String: topics to reassign json file path",
    "A file that names the topics for which --generate proposes an assignment, in the form\n\
     {\"topics\":\n[{\"topic\": \"foo\"},{\"topic\": \"foo1\"}],\n\"version\":1\n}",
);
const BROKER_LIST: Opt =
    Opt::with("broker-list", "String: brokerlist", "The brokers for which --generate proposes, as 0,1,2.");
const DISABLE_RACK_AWARE: Opt = Opt::flag("disable-rack-aware", "Propose without regard to racks.");
const THROTTLE: Opt = Opt::with(
    "throttle",
    "Long: throttle",
    "Bytes a second for moves between brokers; at least 1 KB/s. It is changed by executing again with --additional.",
)
.default("-1");
const REPLICA_ALTER_LOG_DIRS_THROTTLE: Opt = Opt::with(
    "replica-alter-log-dirs-throttle",
    "Long: replicaAlterLogDirsThrottle",
    "Bytes a second for moves between log directories of a broker; at least 1 KB/s.",
)
.default("-1");
const TIMEOUT: Opt =
    Opt::with("timeout", "Long: timeout", "Milliseconds to wait until moves between log directories can be started.")
        .default("10000");
const ADDITIONAL: Opt =
    Opt::flag("additional", "Start moves while others are under way, or change the throttle of those.");
const PRESERVE_THROTTLES: Opt = Opt::flag("preserve-throttles", "Leave throttles as they are.");

const TOOL: Tool = Tool {
    about: "This tool helps to move topic partitions between replicas.",
    options: &[
        &VERIFY,
        &GENERATE,
        &EXECUTE,
        &CANCEL,
        &LIST,
        &BOOTSTRAP_SERVER,
        &COMMAND_CONFIG,
        &REASSIGNMENT_JSON_FILE,
        &TOPICS_TO_MOVE_JSON_FILE,
        &BROKER_LIST,
        &DISABLE_RACK_AWARE,
        &THROTTLE,
        &REPLICA_ALTER_LOG_DIRS_THROTTLE,
        &TIMEOUT,
        &ADDITIONAL,
        &PRESERVE_THROTTLES,
    ],
};

const ACTIONS: &[&Opt] = &[&GENERATE, &EXECUTE, &VERIFY, &CANCEL, &LIST];

/// Settings of a broker and of a topic that throttle moves.
const LEADER_RATE: &str = "leader.replication.throttled.rate";
const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
const LOG_DIR_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const LEADER_REPLICAS: &str = "leader.replication.throttled.replicas";
const FOLLOWER_REPLICAS: &str = "follower.replication.throttled.replicas";

const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Why an action ends. Kafka's tool prints everything on standard output.
enum Stop {
    /// Kafka: `TerseException`.
    Said(String),
    Thrown(Thrown),
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::Output(e)
    }
}

impl From<Thrown> for Stop {
    fn from(e: Thrown) -> Self {
        Self::Thrown(e)
    }
}

impl From<AdminError> for Stop {
    fn from(e: AdminError) -> Self {
        Self::Thrown(Thrown { exception: "java.util.concurrent.ExecutionException", message: e.exception() })
    }
}

impl From<OptionError> for Stop {
    fn from(e: OptionError) -> Self {
        Self::Thrown(Thrown { exception: exception_of(&e), message: e.to_string() })
    }
}

fn exception_of(e: &OptionError) -> &'static str {
    match e {
        OptionError::Unrecognized(_) => "joptsimple.UnrecognizedOptionException",
        OptionError::MissingArgument(_) => "joptsimple.OptionMissingRequiredArgumentException",
        OptionError::MultipleArguments(_) => "joptsimple.MultipleArgumentsForOptionException",
        OptionError::CannotParse { .. } => "joptsimple.OptionArgumentConversionException",
        OptionError::MissingRequired(_) => "joptsimple.MissingRequiredOptionsException",
    }
}

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let thrown = |e| Failure::message(format_args!("Exception in thread \"main\" {}: {e}", exception_of(&e)));
        let options = TOOL.parse(args).map_err(thrown)?;
        TOOL.help_or_version(args, &options)?;
        let action = check(&options)?;
        let mut properties = match options.value(&COMMAND_CONFIG)? {
            Some(path) => client_properties::load(path)?,
            None => Properties::new(),
        };
        properties.entry("client.id".to_owned()).or_insert_with(|| "reassign-partitions-tool".to_owned());
        let admin = Admin::new(options.required(&BOOTSTRAP_SERVER)?, &properties)?;
        let mut command = Command { admin, out };
        match command.act(action, &options) {
            Ok(()) => return Ok(()),
            Err(Stop::Output(e)) => return Err(e.into()),
            Err(Stop::Said(text)) => writeln!(out, "{text}")?,
            Err(Stop::Thrown(Thrown { exception, message })) => {
                writeln!(out, "Error: {message}\n{exception}: {message}\n")?;
            }
        }
        out.flush()?;
        Err(Failure::Exit(1))
    })
}

/// Refuses conflicting options; returns the action.
fn check(options: &Options) -> Result<&'static Opt, Failure> {
    let named: Vec<&&Opt> = ACTIONS.iter().filter(|action| options.has(action)).collect();
    let [action] = named[..] else {
        let all: Vec<String> = ACTIONS.iter().map(|action| format!("--{}", action.name())).collect();
        return Err(TOOL.usage(format!("Command must include exactly one action: {}", all.join(", "))));
    };
    if !options.has(&BOOTSTRAP_SERVER) {
        return Err(TOOL.usage("Please specify --bootstrap-server"));
    }
    let (required, permitted): (&[&Opt], &[&Opt]) = if action.same(&GENERATE) {
        (&[&TOPICS_TO_MOVE_JSON_FILE, &BROKER_LIST], &[&DISABLE_RACK_AWARE])
    } else if action.same(&EXECUTE) {
        (&[&REASSIGNMENT_JSON_FILE], &[&ADDITIONAL, &THROTTLE, &REPLICA_ALTER_LOG_DIRS_THROTTLE, &TIMEOUT])
    } else if action.same(&VERIFY) {
        (&[&REASSIGNMENT_JSON_FILE], &[&PRESERVE_THROTTLES])
    } else if action.same(&CANCEL) {
        (&[&REASSIGNMENT_JSON_FILE], &[&PRESERVE_THROTTLES, &TIMEOUT])
    } else {
        (&[], &[])
    };
    TOOL.require(options, required)?;
    let everywhere: [&Opt; 3] = [action, &BOOTSTRAP_SERVER, &COMMAND_CONFIG];
    let allowed = |opt: &Opt| everywhere.iter().chain(required).chain(permitted).any(|other| other.same(opt));
    match TOOL.options.iter().find(|opt| options.has(opt) && !allowed(opt)) {
        Some(opt) => {
            let (opt, action) = (opt.name(), action.name());
            Err(TOOL.usage(format!("Option \"[{opt}]\" can't be used with action \"[{action}]\"")))
        }
        None => Ok(action),
    }
}

fn read(path: &str) -> Result<String, Stop> {
    let message = || format!("Unable to read file {path}");
    std::fs::read_to_string(path).map_err(|_| Thrown { exception: "java.io.IOException", message: message() }.into())
}

struct Command<'a> {
    admin: Admin,
    out: &'a mut Output,
}

impl Command<'_> {
    fn act(&mut self, action: &Opt, options: &Options) -> Result<(), Stop> {
        if action.same(&LIST) {
            return self.list();
        }
        if action.same(&GENERATE) {
            let topics = read(options.required(&TOPICS_TO_MOVE_JSON_FILE)?)?;
            return self.generate(&topics, options.required(&BROKER_LIST)?, !options.has(&DISABLE_RACK_AWARE));
        }
        let text = read(options.required(&REASSIGNMENT_JSON_FILE)?)?;
        let preserve_throttles = options.has(&PRESERVE_THROTTLES);
        if action.same(&VERIFY) {
            return self.verify(&text, preserve_throttles);
        }
        let throttle = options.required_number::<i64>(&THROTTLE)?;
        let dir_throttle = options.required_number::<i64>(&REPLICA_ALTER_LOG_DIRS_THROTTLE)?;
        let timeout = options.required_number::<i64>(&TIMEOUT)?;
        let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
        if action.same(&CANCEL) {
            return self.cancel(&text, preserve_throttles, timeout);
        }
        self.execute(&text, options.has(&ADDITIONAL), throttle, dir_throttle, timeout)
    }

    fn list(&mut self) -> Result<(), Stop> {
        let ongoing = self.ongoing(None)?;
        if ongoing.is_empty() {
            writeln!(self.out, "No partition reassignments found.")?;
            return Ok(());
        }
        writeln!(self.out, "Current partition reassignments:")?;
        for (partition, moving) in ongoing {
            let list = |name: &str, ids: &[i32]| match ids {
                [] => String::new(),
                ids => format!(" {name}: {}.", joined(ids)),
            };
            let replicas = joined(&moving.replicas);
            let (adding, removing) = (list("adding", &moving.adding), list("removing", &moving.removing));
            writeln!(self.out, "{}: replicas: {replicas}.{adding}{removing}", partition_name(&partition))?;
        }
        Ok(())
    }

    fn generate(&mut self, topics: &str, brokers: &str, rack_aware: bool) -> Result<(), Stop> {
        let brokers = plan::broker_list(brokers)?;
        let topics = plan::topics_to_move(topics)?;
        let mut current: BTreeMap<String, Vec<Vec<i32>>> = BTreeMap::new();
        for topic in self.described(&topics)? {
            let replicas = topic.partitions.iter().map(|p| p.replica_nodes.clone()).collect();
            current.insert(topic.name.as_deref().unwrap_or_default().to_owned(), replicas);
        }
        let candidate = |node: Node| Candidate { id: BrokerId(node.id), rack: node.rack.filter(|_| rack_aware) };
        let nodes = self.admin.nodes("listNodes")?.into_iter().filter(|node| brokers.contains(&node.id));
        let candidates: Vec<Candidate> = nodes.map(candidate).collect();
        let without_rack = candidates.iter().filter(|c| c.rack.is_none()).count();
        if rack_aware && without_rack != 0 && without_rack != candidates.len() {
            let exception = "org.apache.kafka.server.common.AdminOperationException";
            let message = "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica \
                           assignment without rack information.";
            return Err(Thrown { exception, message: message.to_owned() }.into());
        }
        let (mut was, mut proposed) = (Assignments::new(), Assignments::new());
        for (topic, partitions) in current {
            let factor = partitions.first().map_or(0, Vec::len);
            let start = Start::random(candidates.len());
            let assigned = topics::assign_replicas(&candidates, partitions.len() as i32, factor as i32, start)
                .map_err(|refusal| {
                    let exception = match refusal.code {
                        ErrorCode::InvalidPartitions => "org.apache.kafka.common.errors.InvalidPartitionsException",
                        _ => "org.apache.kafka.common.errors.InvalidReplicationFactorException",
                    };
                    Thrown { exception, message: refusal.message }
                })?;
            let named = |(id, brokers): (i32, Vec<BrokerId>)| {
                ((topic.clone(), id), brokers.into_iter().map(|id| id.0).collect())
            };
            proposed.extend(assigned.into_iter().map(named));
            was.extend((0..).zip(partitions).map(|(id, replicas)| ((topic.clone(), id), replicas)));
        }
        writeln!(self.out, "Current partition replica assignment\n{}\n", plan::file(&was))?;
        writeln!(self.out, "Proposed partition reassignment configuration\n{}", plan::file(&proposed))?;
        Ok(())
    }

    fn execute(
        &mut self,
        text: &str,
        additional: bool,
        throttle: i64,
        dir_throttle: i64,
        timeout: Duration,
    ) -> Result<(), Stop> {
        let wanted = Wanted::parse(text)?;
        let proposed = wanted.for_execution()?;
        let ongoing = self.ongoing(None)?;
        if !additional && !ongoing.is_empty() {
            return Err(Stop::Said(
                "Cannot execute because there is an existing partition assignment.  Use --additional to override this and \
                 create a new partition assignment in addition to the existing one. The --additional flag can also be used \
                 to change the throttle by resubmitting the current reassignment."
                    .to_owned(),
            ));
        }
        let known: BTreeSet<i32> = self.admin.nodes("listNodes")?.iter().map(|node| node.id).collect();
        let mut brokers: Vec<i32> = proposed.values().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
        java::int_order(&mut brokers);
        if let Some(unknown) = brokers.iter().find(|id| !known.contains(id)) {
            return Err(command_failed(format!("Unknown broker id {unknown}")).into());
        }
        let current = self.current(&proposed)?;
        writeln!(
            self.out,
            "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during \
             rollback",
            plan::file(&current)
        )?;
        if throttle >= 0 || dir_throttle >= 0 {
            writeln!(
                self.out,
                "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is \
                 removed."
            )?;
        }
        if throttle >= 0 {
            self.throttle(&plan::moves(&ongoing, &proposed, &current), throttle)?;
        }
        if dir_throttle >= 0 {
            let brokers: BTreeSet<i32> = wanted.log_dirs.keys().map(|(broker, ..)| *broker).collect();
            self.alter_brokers(&brokers, &[(LOG_DIR_RATE, Some(dir_throttle.to_string()))])?;
            writeln!(self.out, "The replica-alter-dir throttle limit was set to {dir_throttle} B/s")?;
        }
        self.out.flush()?;
        let targets =
            proposed.iter().map(|(partition, replicas)| (partition.clone(), Some(replicas.clone()))).collect();
        let errors = self.alter_reassignments(&targets)?;
        if !errors.is_empty() {
            return Err(Stop::Said(format!("Error reassigning partition(s):\n{}", lines(&errors))));
        }
        let several = if proposed.len() == 1 { "" } else { "s" };
        let names = joined(proposed.keys().map(partition_name));
        writeln!(self.out, "Successfully started partition reassignment{several} for {names}")?;
        if wanted.log_dirs.is_empty() { Ok(()) } else { self.move_dirs(wanted.log_dirs, timeout) }
    }

    /// Starts moves between log directories. A replica that is not on its broker yet is retried until the timeout.
    fn move_dirs(&mut self, mut pending: BTreeMap<Replica, String>, timeout: Duration) -> Result<(), Stop> {
        let deadline = Instant::now() + timeout;
        loop {
            for replica in self.alter_dirs(&pending)? {
                let Some(dir) = pending.remove(&replica) else { continue };
                let (broker, topic, partition) = &replica;
                writeln!(
                    self.out,
                    "Successfully started moving log directory to {dir} for replica {topic}-{partition} with broker {broker} "
                )?;
            }
            if pending.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let several = if pending.len() == 1 { "" } else { "s" };
                let names = joined(pending.keys().map(replica_name));
                return Err(Stop::Said(format!(
                    "Timed out before log directory move{several} could be started for: {names}"
                )));
            }
            self.out.flush()?;
            std::thread::park_timeout(RETRY_PAUSE);
        }
    }

    fn cancel(&mut self, text: &str, preserve_throttles: bool, timeout: Duration) -> Result<(), Stop> {
        let wanted = Wanted::parse(text)?;
        let named: BTreeSet<Partition> = wanted.partitions.iter().map(|(partition, _)| partition.clone()).collect();
        let ongoing = self.ongoing(Some(&named))?;
        if ongoing.is_empty() {
            writeln!(self.out, "None of the specified partition reassignments are active.")?;
        } else {
            let targets = ongoing.keys().map(|partition| (partition.clone(), None)).collect();
            let errors = self.alter_reassignments(&targets)?;
            if !errors.is_empty() {
                let several = if errors.len() == 1 { "" } else { "s" };
                return Err(Stop::Said(format!(
                    "Error cancelling partition reassignment{several} for:\n{}",
                    lines(&errors)
                )));
            }
            let several = if ongoing.len() == 1 { "" } else { "s" };
            let names = joined(ongoing.keys().map(partition_name));
            writeln!(self.out, "Successfully cancelled partition reassignment{several} for: {names}")?;
        }
        let back: BTreeMap<Replica, String> = self
            .dir_moves(&wanted.log_dirs)?
            .into_iter()
            .filter_map(|(replica, state)| match state {
                DirMove::Active { current, .. } => Some((replica, current)),
                _ => None,
            })
            .collect();
        if back.is_empty() {
            // Without a line end, as in Kafka's tool.
            write!(self.out, "None of the specified partition moves are active.")?;
        } else {
            self.move_dirs(back, timeout)?;
        }
        if preserve_throttles { Ok(()) } else { self.clear_throttles(&wanted) }
    }

    fn verify(&mut self, text: &str, preserve_throttles: bool) -> Result<(), Stop> {
        let wanted = Wanted::parse(text)?;
        let ongoing = self.ongoing(None)?;
        let resting: BTreeSet<&str> = wanted
            .partitions
            .iter()
            .filter(|(partition, _)| !ongoing.contains_key(partition))
            .map(|((topic, _), _)| topic.as_str())
            .collect();
        let described = match resting.is_empty() {
            true => Vec::new(),
            false => self.admin.topics("describeTopics", &resting.into_iter().collect::<Vec<_>>())?,
        };
        // Of two entries of a partition the later counts.
        let targets: BTreeMap<&Partition, &Vec<i32>> = wanted.partitions.iter().map(|(p, r)| (p, r)).collect();
        let mut report = vec!["Status of partition reassignment:".to_owned()];
        for (partition, target) in targets {
            let name = partition_name(partition);
            if ongoing.contains_key(partition) {
                report.push(format!("Reassignment of partition {name} is still in progress."));
                continue;
            }
            let current = replicas_of(&described, partition)?;
            report.push(if current == *target {
                format!("Reassignment of partition {name} is completed.")
            } else {
                format!(
                    "There is no active reassignment of partition {name}, but replica set is {} rather than {}.",
                    joined(&current),
                    joined(target)
                )
            });
        }
        writeln!(self.out, "{}", report.join("\n"))?;
        let states = self.dir_moves(&wanted.log_dirs)?;
        let shown: Vec<String> =
            states.iter().map(|(replica, state)| state.shown(replica, &wanted.log_dirs[replica])).collect();
        writeln!(self.out, "{}", shown.join("\n"))?;
        let is_done = ongoing.is_empty() && states.values().all(DirMove::is_done);
        if is_done && !preserve_throttles { self.clear_throttles(&wanted) } else { Ok(()) }
    }

    // Throttles

    fn throttle(&mut self, moves: &BTreeMap<String, BTreeMap<i32, plan::Move>>, rate: i64) -> Result<(), Stop> {
        let settings = moves
            .iter()
            .map(|(topic, partitions)| {
                let (leaders, followers) = plan::throttled_replicas(partitions);
                let settings: Box<Settings> =
                    Box::new([(LEADER_REPLICAS, Some(leaders)), (FOLLOWER_REPLICAS, Some(followers))]);
                (topic.as_str(), settings)
            })
            .collect();
        self.alter_topics(settings)?;
        let rate = rate.to_string();
        let settings = [(LEADER_RATE, Some(rate.clone())), (FOLLOWER_RATE, Some(rate.clone()))];
        self.alter_brokers(&plan::moving_brokers(moves), &settings)?;
        writeln!(self.out, "The inter-broker throttle limit was set to {rate} B/s")?;
        Ok(())
    }

    /// Removes all throttles, also those of others: the brokers that were read from are not known any more.
    fn clear_throttles(&mut self, wanted: &Wanted) -> Result<(), Stop> {
        let several = |count: usize| if count == 1 { "" } else { "s" };
        let mut brokers: BTreeSet<i32> = self.admin.nodes("listNodes")?.iter().map(|node| node.id).collect();
        brokers.extend(wanted.partitions.iter().flat_map(|(_, replicas)| replicas));
        let mut shown: Vec<i32> = brokers.iter().copied().collect();
        java::int_order(&mut shown);
        let (s, shown) = (several(shown.len()), joined(&shown));
        writeln!(self.out, "Clearing broker-level throttles on broker{s} {shown}")?;
        self.alter_brokers(&brokers, &[(LEADER_RATE, None), (FOLLOWER_RATE, None), (LOG_DIR_RATE, None)])?;
        let topics: BTreeSet<&str> = wanted.partitions.iter().map(|((topic, _), _)| topic.as_str()).collect();
        let mut topics: Vec<&str> = topics.into_iter().collect();
        java::hash_order(&mut topics, 0, |topic| topic);
        writeln!(self.out, "Clearing topic-level throttles on topic{} {}", several(topics.len()), topics.join(","))?;
        let none = || -> Box<Settings> { Box::new([(LEADER_REPLICAS, None), (FOLLOWER_REPLICAS, None)]) };
        self.alter_topics(topics.into_iter().map(|topic| (topic, none())).collect())
    }
}

fn lines(errors: &BTreeMap<Partition, AdminError>) -> String {
    errors.iter().map(|(partition, e)| format!("{}: {e}", partition_name(partition))).collect::<Vec<_>>().join("\n")
}

/// The replicas of a partition that does not move; none when it is not there.
fn replicas_of(described: &[MetadataResponseTopic], (name, id): &Partition) -> Result<Vec<i32>, Stop> {
    let Some(topic) = described.iter().find(|topic| topic.name.as_deref() == Some(name.as_str())) else {
        return Ok(Vec::new());
    };
    match AdminError::of(topic.error_code, None) {
        Some(e) if e.code() == Some(ErrorCode::UnknownTopicOrPartition) => return Ok(Vec::new()),
        Some(e) => return Err(e.into()),
        None => {}
    }
    let count = topic.partitions.len();
    match topic.partitions.iter().find(|p| p.partition_index == *id) {
        Some(p) => Ok(p.replica_nodes.clone()),
        // Kafka's tool is off by one here.
        None if usize::try_from(*id).is_ok_and(|id| id > count) => Ok(Vec::new()),
        None => {
            let exception = "java.lang.IndexOutOfBoundsException";
            Err(Thrown { exception, message: format!("Index {id} out of bounds for length {count}") }.into())
        }
    }
}
