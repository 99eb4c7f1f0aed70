//! `zurau zookeeper-shell`: shows and edits znodes of an ensemble. Counterpart: `org.apache.zookeeper.ZooKeeperMain`
//! behind zookeeper-shell.sh. The commands that operators of Kafka use, with zkCli's output; absent on purpose:
//! watches, quotas, reconfiguration, credentials, TLS.

use super::support::terminal::{self, Failure, Output};
use crate::util::task::Group;
use crate::zk::client::{CreateMode, Permission, Stat};
use crate::zk::{Client, ConnectOptions, Error, login};
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a command may take, over reconnections.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// zkCli's exit code for an unknown command.
const UNKNOWN_COMMAND: u8 = 127;

const USAGE: &str = "\
ZooKeeper -server host:port cmd args
\tcreate [-s] [-e] path [data]
\tdelete [-v version] path
\tdeleteall path
\tget [-s] path
\tgetAcl [-s] path
\tls [-s] [-R] path
\tquit
\tset [-s] [-v version] path data
\tstat path
\tversion";

/// The letters of the permission bits, in zkCli's order.
const PERMISSIONS: &[(Permission, char)] = &[
    (Permission::CREATE, 'c'),
    (Permission::DELETE, 'd'),
    (Permission::READ, 'r'),
    (Permission::WRITE, 'w'),
    (Permission::ADMIN, 'a'),
];
const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let Some((connect, words)) = args.split_first() else {
            return Err(Failure::message(
                "USAGE: zookeeper-shell.sh zookeeper_host:port[/path] [-zk-tls-config-file file] [args...]",
            ));
        };
        if words.first().is_some_and(|word| word == "-zk-tls-config-file") {
            return Err(Failure::message("-zk-tls-config-file is not supported yet"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tasks = Group::new(runtime.handle().clone());
        writeln!(out, "Connecting to {connect}")?;
        if words.is_empty() {
            writeln!(out, "Welcome to ZooKeeper!")?;
        }
        out.flush()?;
        let sasl = login::from_environment().map_err(Failure::message)?;
        let options =
            ConnectOptions { connection_timeout: CONNECT_TIMEOUT, sasl, ..ConnectOptions::new(connect.as_str()) };
        let client = runtime.block_on(Client::connect(&options, &tasks)).map_err(|e| match e {
            Error::ConnectTimeout { .. } => Failure::message("KeeperErrorCode = ConnectionLoss for /"),
            e => Failure::message(e),
        })?;
        let mut shell = Shell { client, out };
        writeln!(shell.out, "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:None path:null")?;
        let done =
            if words.is_empty() { shell.session(connect, &runtime) } else { runtime.block_on(shell.command(words)) };
        // The session's end removes its ephemeral nodes at once.
        let Shell { client, .. } = shell;
        runtime.block_on(async { tokio::time::timeout(CLOSE_TIMEOUT, client.close()).await }).ok();
        match done {
            Ok(End::Done | End::Quit) => Ok(()),
            Ok(End::Failed) => Err(Failure::Exit(1)),
            Ok(End::Unknown) => {
                terminal::say(USAGE);
                Err(Failure::Exit(UNKNOWN_COMMAND))
            }
            Err(e) => Err(e),
        }
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Done,
    /// The error has been printed.
    Failed,
    Unknown,
    Quit,
}

struct Shell<'a> {
    client: Client,
    out: &'a mut Output,
}

impl Shell<'_> {
    /// Commands from standard input, up to its end or `quit`. The last failure decides, as in zkCli.
    fn session(&mut self, connect: &str, runtime: &tokio::runtime::Runtime) -> Result<End, Failure> {
        let prompt = std::io::stdin().is_terminal();
        let mut lines = std::io::stdin().lock().lines();
        let mut end = End::Done;
        for n in 0_u64.. {
            if prompt {
                write!(self.out, "[zk: {connect}(CONNECTED) {n}] ")?;
            }
            self.out.flush()?;
            let Some(line) = lines.next().transpose()? else { break };
            let words = words_of(&line);
            if words.is_empty() {
                continue;
            }
            match runtime.block_on(self.command(&words))? {
                End::Quit => break,
                End::Unknown => {
                    self.out.flush()?;
                    terminal::say(USAGE);
                    terminal::say(format_args!("Command not found: Command not found {}", words[0]));
                }
                result => {
                    if result == End::Failed {
                        end = result;
                    }
                }
            }
        }
        Ok(end)
    }

    async fn command(&mut self, words: &[String]) -> Result<End, Failure> {
        let Some((name, rest)) = words.split_first() else { return Ok(End::Done) };
        let command = Command::parse(rest);
        let path = command.path.clone();
        let known = match name.as_str() {
            "quit" => return Ok(End::Quit),
            "version" => {
                writeln!(self.out, "ZooKeeper CLI version: {}-{}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))?;
                return Ok(End::Done);
            }
            "ls" | "get" | "stat" | "create" | "set" | "delete" | "deleteall" | "getAcl" => name.as_str(),
            _ => return Ok(End::Unknown),
        };
        if path.is_empty() || (known == "set" && command.data.is_none()) {
            self.out.flush()?;
            let usage = USAGE.lines().find(|l| l.trim_start().split(' ').next() == Some(known));
            terminal::say(usage.unwrap_or(USAGE).trim_start());
            return Ok(End::Failed);
        }
        if let Some(reason) = bad_path(&path) {
            self.out.flush()?;
            terminal::say(format_args!("Command failed: java.lang.IllegalArgumentException: {reason}"));
            return Ok(End::Failed);
        }
        let done = tokio::time::timeout(COMMAND_TIMEOUT, self.execute(known, &command)).await;
        let said = match done {
            Ok(Ok(())) => return Ok(End::Done),
            Ok(Err(CommandError::Output(e))) => return Err(e.into()),
            Err(_) => format!("KeeperErrorCode = ConnectionLoss for {path}"),
            Ok(Err(CommandError::ZooKeeper(e))) => match e {
                Error::NoNode => format!("Node does not exist: {path}"),
                Error::NodeExists => format!("Node already exists: {path}"),
                Error::NotEmpty => format!("Node not empty: {path}"),
                Error::BadVersion => format!("version No is not valid : {path}"),
                Error::NoAuth => format!("Insufficient permission : {path}"),
                Error::InvalidAcl => format!("Acl is not valid : {path}"),
                Error::Code(NO_CHILDREN_FOR_EPHEMERALS) => format!("Ephemerals cannot have children: {path}"),
                Error::SessionExpired => format!("KeeperErrorCode = Session expired for {path}"),
                e => e.to_string(),
            },
        };
        self.out.flush()?;
        terminal::say(said);
        Ok(End::Failed)
    }

    async fn execute(&mut self, name: &str, command: &Command) -> Result<(), CommandError> {
        let (path, client) = (command.path.as_str(), self.client.clone());
        match name {
            "ls" if command.recursive => self.print_tree(path).await?,
            "ls" => {
                let mut children = client.children(path).await?;
                children.sort();
                writeln!(self.out, "[{}]", children.join(", "))?;
                self.print_stat_if(command.stat_or_sequential, path).await?;
            }
            "get" => {
                let node = client.get(path).await?;
                let data = node.data.as_deref().unwrap_or(b"null");
                writeln!(self.out, "{}", String::from_utf8_lossy(data))?;
                if command.stat_or_sequential {
                    print_stat(&node.stat, self.out)?;
                }
            }
            "stat" => self.print_stat_if(true, path).await?,
            "create" => {
                let mode = match (command.ephemeral, command.stat_or_sequential) {
                    (false, false) => CreateMode::Persistent,
                    (true, false) => CreateMode::Ephemeral,
                    (false, true) => CreateMode::PersistentSequential,
                    (true, true) => CreateMode::EphemeralSequential,
                };
                let created = client.create(path, command.data.as_deref().map(str::as_bytes), mode).await?;
                self.out.flush()?;
                terminal::say(format_args!("Created {created}"));
            }
            "set" => {
                let data = command.data.as_deref().unwrap_or_default();
                let stat = client.set(path, data.as_bytes(), command.version).await?;
                if command.stat_or_sequential {
                    print_stat(&stat, self.out)?;
                }
            }
            "delete" => client.delete(path, command.version).await?,
            "deleteall" => {
                for path in subtree(&client, path).await?.iter().rev() {
                    match client.delete(path, -1).await {
                        // Another client was faster.
                        Ok(()) | Err(Error::NoNode) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
            }
            _ => {
                for acl in client.get_acl(path).await? {
                    let letters = PERMISSIONS.iter().filter(|(one, _)| acl.permission().has(*one));
                    let letters: String = letters.map(|(_, letter)| *letter).collect();
                    writeln!(self.out, "'{},'{}\n: {letters}", acl.auth_id().scheme(), acl.auth_id().id())?;
                }
                self.print_stat_if(command.stat_or_sequential, path).await?;
            }
        }
        Ok(())
    }

    async fn print_tree(&mut self, path: &str) -> Result<(), CommandError> {
        for path in subtree(&self.client, path).await? {
            writeln!(self.out, "{path}")?;
        }
        Ok(())
    }

    async fn print_stat_if(&mut self, wanted: bool, path: &str) -> Result<(), CommandError> {
        if wanted {
            let stat = self.client.exists(path).await?.ok_or(Error::NoNode)?;
            print_stat(&stat, self.out)?;
        }
        Ok(())
    }
}

enum CommandError {
    ZooKeeper(Error),
    Output(std::io::Error),
}

impl From<Error> for CommandError {
    fn from(e: Error) -> Self {
        Self::ZooKeeper(e)
    }
}

impl From<std::io::Error> for CommandError {
    fn from(e: std::io::Error) -> Self {
        Self::Output(e)
    }
}

/// The paths at and below `path`, parents first, children sorted.
async fn subtree(client: &Client, path: &str) -> Result<Vec<String>, Error> {
    let mut paths = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(next) = open.pop() {
        let mut children = match client.children(&next).await {
            Ok(children) => children,
            // Deleted since its parent was listed.
            Err(Error::NoNode) if !paths.is_empty() => continue,
            Err(e) => return Err(e),
        };
        children.sort();
        let base = if next == "/" { "" } else { next.as_str() };
        open.extend(children.iter().rev().map(|child| format!("{base}/{child}")));
        paths.push(next);
    }
    Ok(paths)
}

fn print_stat(stat: &Stat, out: &mut Output) -> std::io::Result<()> {
    write!(
        out,
        "cZxid = {:#x}\nctime = {}\nmZxid = {:#x}\nmtime = {}\npZxid = {:#x}\ncversion = {}\ndataVersion = {}\naclVersion = {}\n\
         ephemeralOwner = {:#x}\ndataLength = {}\nnumChildren = {}\n",
        stat.czxid,
        java_date(stat.ctime),
        stat.mzxid,
        java_date(stat.mtime),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children
    )
}

/// The format of `java.util.Date`.
fn java_date(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(at) => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %b %d %H:%M:%S %Z %Y").to_string(),
        Err(_) => ms.to_string(),
    }
}

/// Why a path is invalid.
fn bad_path(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some("Path must start with / character".to_owned());
    }
    if path.len() > 1 && path.ends_with('/') {
        return Some("Path must not end with / character".to_owned());
    }
    let empty = path.find("//");
    empty.map(|at| format!("Invalid path string \"{path}\" caused by empty node name specified @{}", at + 1))
}

/// The words of a command after its name.
#[derive(Debug, Default, PartialEq)]
struct Command {
    path: String,
    data: Option<String>,
    version: i32,
    ephemeral: bool,
    /// `-s`: show the stat, or make a sequential node.
    stat_or_sequential: bool,
    recursive: bool,
}

impl Command {
    fn parse(words: &[String]) -> Self {
        let mut command = Self { version: -1, ..Self::default() };
        let mut plain = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-s" => command.stat_or_sequential = true,
                "-e" => command.ephemeral = true,
                "-R" => command.recursive = true,
                "-v" => command.version = words.next().and_then(|v| v.parse().ok()).unwrap_or(-1),
                word => plain.push(word.to_owned()),
            }
        }
        let mut plain = plain.into_iter();
        command.path = plain.next().unwrap_or_default();
        command.data = plain.next();
        command
    }
}

/// Words separated by white space; a quoted one may contain it.
fn words_of(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = if matches!(first, '"' | '\'') {
            let inside = &rest[1..];
            inside.split_once(first).unwrap_or((inside, ""))
        } else {
            rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()))
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{Command, bad_path, words_of};

    #[test]
    fn quotes_hold_a_word_together() {
        assert_eq!(words_of(r#" create /a "b c" 'd e' f"#), ["create", "/a", "b c", "d e", "f"]);
        assert_eq!(words_of("get \"/open"), ["get", "/open"]);
    }

    #[test]
    fn options_may_stand_anywhere_before_or_behind_the_path() {
        let words = words_of("-e /a data -s -v 3");
        let expected = Command {
            path: "/a".to_owned(),
            data: Some("data".to_owned()),
            version: 3,
            ephemeral: true,
            stat_or_sequential: true,
            recursive: false,
        };
        assert_eq!(Command::parse(&words), expected);
    }

    #[test]
    fn paths_are_absolute_and_have_no_empty_part() {
        assert!(bad_path("/").is_none() && bad_path("/a/b").is_none());
        assert!(bad_path("a").is_some() && bad_path("/a/").is_some() && bad_path("/a//b").is_some());
    }
}
