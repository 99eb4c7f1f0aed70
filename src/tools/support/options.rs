//! Owns how a tool reads its command line and prints its help: the rules, error texts and layout of the option parser that
//! Kafka's tools use. Kafka: `joptsimple.OptionParser`, `CommandDefaultOptions`, `CommandLineUtils`.
//! Values are converted when a tool asks for them, not before, so that errors come in Kafka's order. Absent on purpose:
//! abbreviated options, which Kafka switches off, and clap: its builder with an adapter took as many lines as the reader
//! below, and differed in 2,640 of 16,275 command lines (`-name` as a value, `--name=` with nothing, `--flag=value`).

use super::terminal::Failure;
use std::collections::HashMap;
use std::str::FromStr;

/// Widths of the help text, in characters.
const HELP_WIDTH: usize = 80;
const COLUMN_GAP: usize = 2;

/// The output of `--version`: the Kafka version of these tools, which scripts compare.
pub(crate) const KAFKA_VERSION: &str = "3.9.1";

/// One option of a tool.
pub(crate) struct Opt {
    name: &'static str,
    argument: Argument,
    about: &'static str,
    default: Option<&'static str>,
}

enum Argument {
    None,
    /// Its argument in the help: a type, then a description.
    Required(&'static str),
    Optional(&'static str),
}

impl Opt {
    pub(crate) const fn flag(name: &'static str, about: &'static str) -> Self {
        Self { name, argument: Argument::None, about, default: None }
    }

    pub(crate) const fn with(name: &'static str, shown: &'static str, about: &'static str) -> Self {
        Self { name, argument: Argument::Required(shown), about, default: None }
    }

    /// An option with an optional argument; the next word is its argument unless it starts with a dash.
    pub(crate) const fn with_optional(name: &'static str, shown: &'static str, about: &'static str) -> Self {
        Self { name, argument: Argument::Optional(shown), about, default: None }
    }

    pub(crate) const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        self.name == other.name
    }

    fn shown(&self) -> String {
        match self.argument {
            Argument::None => format!("--{}", self.name),
            Argument::Required(shown) => format!("--{} <{shown}>", self.name),
            Argument::Optional(shown) => format!("--{} [{shown}]", self.name),
        }
    }
}

const HELP: Opt = Opt::flag("help", "Print usage information.");
const VERSION: Opt = Opt::flag("version", "Print the Kafka version that this tool follows.");

/// An invalid command line. The texts are joptsimple's.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum OptionError {
    #[error("{0} is not a recognized option")]
    Unrecognized(String),
    #[error("Option {0} requires an argument")]
    MissingArgument(&'static str),
    #[error("Found multiple arguments for option {0}, but you asked for only one")]
    MultipleArguments(&'static str),
    #[error("Cannot parse argument '{argument}' of option {option}")]
    CannotParse { argument: String, option: &'static str },
    #[error("Missing required option(s) [{0}]")]
    MissingRequired(&'static str),
}

/// A tool's command line: the text of its help, and its options beside `--help` and `--version`.
pub(crate) struct Tool {
    pub(crate) about: &'static str,
    pub(crate) options: &'static [&'static Opt],
}

impl Tool {
    /// Reads the command line; prints the help or the version on request. An empty command line requests the help.
    pub(crate) fn start(&self, args: &[String]) -> Result<Options, Failure> {
        let options = self.parse(args).map_err(|e| self.usage(e))?;
        self.help_or_version(args, &options)?;
        Ok(options)
    }

    pub(crate) fn help_or_version(&self, args: &[String], options: &Options) -> Result<(), Failure> {
        if args.is_empty() || options.has(&HELP) {
            return Err(self.usage(self.about));
        }
        if options.has(&VERSION) {
            return Err(Failure::Answered(format!("{KAFKA_VERSION}\n")));
        }
        Ok(())
    }

    /// The message and the help on standard error, exit code 1, as Kafka's tools do even for `--help`.
    pub(crate) fn usage(&self, message: impl ToString) -> Failure {
        Failure::Message(format!("{}\n{}", message.to_string(), self.help()))
    }

    /// Refuses a command line without either of the two, at joptsimple's point: before anything but a request for help.
    pub(crate) fn require_either(&self, options: &Options, opt: &Opt, other: &Opt) -> Result<(), Failure> {
        if [opt, other, &HELP, &VERSION].iter().any(|o| options.has(o)) {
            return Ok(());
        }
        Err(self.usage(OptionError::MissingRequired(opt.name)))
    }

    pub(crate) fn require(&self, options: &Options, required: &[&Opt]) -> Result<(), Failure> {
        match required.iter().find(|opt| !options.has(opt)) {
            Some(opt) => Err(self.usage(format!("Missing required argument \"[{}]\"", opt.name))),
            None => Ok(()),
        }
    }

    /// Refuses each of `others` together with `used`.
    pub(crate) fn refuse_beside(&self, options: &Options, used: &Opt, others: &[&Opt]) -> Result<(), Failure> {
        match others.iter().find(|other| options.has(used) && options.has(other)) {
            Some(other) => {
                let (used, other) = (used.name, other.name);
                Err(self.usage(format!("Option \"[{used}]\" can't be used with option \"[{other}]\"")))
            }
            None => Ok(()),
        }
    }

    /// Refuses a list of brokers in which one does not end in a port.
    pub(crate) fn check_host_ports(&self, servers: &str) -> Result<(), Failure> {
        let has_port = |server: &str| {
            server
                .rsplit_once(':')
                .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
        };
        if servers.trim_end_matches(',').split(',').all(has_port) {
            return Ok(());
        }
        Err(self.usage("Please provide valid host:port like host1:9091,host2:9092\n"))
    }

    pub(crate) fn parse(&self, args: &[String]) -> Result<Options, OptionError> {
        let mut options = Options { found: HashMap::new() };
        let mut words = args.iter().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|o| !o.is_empty())
            else {
                continue;
            };
            let (name, inline) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value).filter(|v| !v.is_empty())),
                None => (option, None),
            };
            let Some(opt) = self.find(name) else {
                // After a single dash joptsimple reads a cluster of letters, and reports the first unknown one.
                let unknown = if word.starts_with("--") { name.to_owned() } else { option.chars().take(1).collect() };
                return Err(OptionError::Unrecognized(unknown));
            };
            let values = options.found.entry(opt.name).or_default();
            match opt.argument {
                Argument::None => {}
                Argument::Required(_) => match inline.or_else(|| words.next().map(String::as_str)) {
                    Some(value) => values.push(value.to_owned()),
                    None => return Err(OptionError::MissingArgument(opt.name)),
                },
                Argument::Optional(_) => {
                    let next = || words.next_if(|w| !w.starts_with('-') || w.as_str() == "-").map(String::as_str);
                    values.extend(inline.or_else(next).map(str::to_owned));
                }
            }
        }
        Ok(options)
    }

    fn find(&self, name: &str) -> Option<&'static Opt> {
        self.options.iter().copied().chain([&HELP, &VERSION]).find(|opt| opt.name == name)
    }

    fn help(&self) -> String {
        let mut rows: Vec<(String, String)> = self
            .options
            .iter()
            .copied()
            .chain([&HELP, &VERSION])
            .map(|opt| {
                let default = opt.default.map(|d| format!(" (default: {d})")).unwrap_or_default();
                (opt.shown(), format!("{}{default}", opt.about))
            })
            .collect();
        rows.sort();
        let widest = rows.iter().map(|(option, _)| option.len()).max().unwrap_or_default();
        let left = widest.min((HELP_WIDTH - COLUMN_GAP) / 2);
        let right = HELP_WIDTH - COLUMN_GAP - left;
        let mut help = String::new();
        let header = [("Option", "Description"), ("------", "-----------")].map(|(o, d)| (o.to_owned(), d.to_owned()));
        for (option, about) in header.into_iter().chain(rows) {
            let (option, about) = (wrap(&option, left), wrap(&about, right));
            for line in 0..option.len().max(about.len()) {
                let cell = |column: &[String]| column.get(line).cloned().unwrap_or_default();
                let text = format!("{:left$}{:COLUMN_GAP$}{}", cell(&option), "", cell(&about));
                help.push_str(text.trim_end());
                help.push('\n');
            }
        }
        help
    }
}

/// Lines of at most `width` characters, each but the first set in by two; a line break in the text stays.
fn wrap(text: &str, width: usize) -> Vec<String> {
    const SET_IN: &str = "  ";
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = if lines.is_empty() { String::new() } else { SET_IN.to_owned() };
        let mut empty = true;
        for word in paragraph.split(' ') {
            if !empty && line.len() + 1 + word.len() > width {
                lines.push(std::mem::replace(&mut line, SET_IN.to_owned()));
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        lines.push(line);
    }
    lines
}

/// The options that a command line named, with their arguments as they were written.
#[derive(Debug)]
pub(crate) struct Options {
    found: HashMap<&'static str, Vec<String>>,
}

impl Options {
    /// True when the command line names the option; a default does not count.
    pub(crate) fn has(&self, opt: &Opt) -> bool {
        self.found.contains_key(opt.name)
    }

    /// The argument, or the default.
    pub(crate) fn value(&self, opt: &Opt) -> Result<Option<&str>, OptionError> {
        match self.values(opt) {
            [] => Ok(opt.default),
            [one] => Ok(Some(one)),
            _ => Err(OptionError::MultipleArguments(opt.name)),
        }
    }

    /// The argument of an option that is required, or has a default.
    pub(crate) fn required(&self, opt: &Opt) -> Result<&str, OptionError> {
        self.value(opt)?.ok_or(OptionError::MissingRequired(opt.name))
    }

    /// The argument, or the default, as a number.
    pub(crate) fn number<T: FromStr>(&self, opt: &Opt) -> Result<Option<T>, OptionError> {
        let Some(text) = self.value(opt)? else { return Ok(None) };
        let cannot_parse = || OptionError::CannotParse { argument: text.to_owned(), option: opt.name };
        text.parse().map(Some).map_err(|_| cannot_parse())
    }

    /// As [`Self::number`], of an option that is required, or has a default.
    pub(crate) fn required_number<T: FromStr>(&self, opt: &Opt) -> Result<T, OptionError> {
        self.number(opt)?.ok_or(OptionError::MissingRequired(opt.name))
    }

    /// Every argument of an option that may be repeated. Defaults do not count.
    pub(crate) fn values(&self, opt: &Opt) -> &[String] {
        self.found.get(opt.name).map_or(&[], Vec::as_slice)
    }

    /// Arguments of the form `key=value`; the value may contain equals signs, and may be missing.
    pub(crate) fn key_values(&self, opt: &Opt) -> Vec<(String, String)> {
        let split = |arg: &String| match arg.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (arg.clone(), String::new()),
        };
        self.values(opt).iter().map(split).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Opt, OptionError, Options, Tool};

    const TOPIC: Opt = Opt::with("topic", "String: topic", "The topic.");
    const COUNT: Opt = Opt::with("count", "Integer: count", "How many.").default("7");
    const SYNC: Opt = Opt::flag("sync", "One at a time.");
    const CODEC: Opt = Opt::with_optional("codec", "String", "The codec.");
    const TOOL: Tool = Tool { about: "A tool.", options: &[&TOPIC, &COUNT, &SYNC, &CODEC] };

    fn parse(args: &[&str]) -> Result<Options, OptionError> {
        TOOL.parse(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn value_comes_after_a_space_or_an_equals_sign_and_after_one_dash_or_two() {
        for args in [&["--topic", "a=b"][..], &["--topic=a=b"], &["-topic", "a=b"], &["-topic=a=b"]] {
            assert_eq!(parse(args).unwrap().value(&TOPIC), Ok(Some("a=b")));
        }
    }

    #[test]
    fn required_argument_takes_the_next_word_even_when_it_looks_like_an_option() {
        let options = parse(&["--topic", "--sync"]).unwrap();
        assert_eq!(options.value(&TOPIC), Ok(Some("--sync")));
        assert!(!options.has(&SYNC));
    }

    #[test]
    fn optional_argument_leaves_the_next_option_alone() {
        let options = parse(&["--codec", "--sync"]).unwrap();
        assert!(options.has(&CODEC) && options.has(&SYNC));
        assert_eq!(parse(&["--codec", "lz4"]).unwrap().value(&CODEC), Ok(Some("lz4")));
    }

    #[test]
    fn default_is_a_value_but_not_a_presence() {
        let options = parse(&["--sync"]).unwrap();
        assert_eq!(options.number::<i32>(&COUNT), Ok(Some(7)));
        assert!(!options.has(&COUNT));
    }

    #[test]
    fn errors_read_as_joptsimple_writes_them() {
        let said = |args: &[&str]| parse(args).unwrap_err().to_string();
        assert_eq!(said(&["--foo"]), "foo is not a recognized option");
        assert_eq!(said(&["-lx"]), "l is not a recognized option");
        assert_eq!(said(&["--topic"]), "Option topic requires an argument");
        let twice = parse(&["--topic", "a", "--topic", "b", "--count", "x"]).unwrap();
        let several = "Found multiple arguments for option topic, but you asked for only one";
        assert_eq!(twice.value(&TOPIC).unwrap_err().to_string(), several);
        let wrong = "Cannot parse argument 'x' of option count";
        assert_eq!(twice.number::<i32>(&COUNT).unwrap_err().to_string(), wrong);
    }

    #[test]
    fn help_lists_options_by_name_in_two_columns() {
        let help = TOOL.help();
        let lines: Vec<_> = help.lines().collect();
        assert_eq!(lines[0], "Option                    Description");
        assert_eq!(lines[2], "--codec [String]          The codec.");
        assert_eq!(lines[3], "--count <Integer: count>  How many. (default: 7)");
    }
}
