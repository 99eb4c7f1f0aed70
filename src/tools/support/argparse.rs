//! Owns command lines by the rules and error texts of argparse4j, which some of Kafka's tools use in place of joptsimple.
//! Kafka: `net.sourceforge.argparse4j`. [`Parser`] is for tools with independent options; those with commands, or with
//! options that exclude each other, read their [`Words`] one by one.

use super::terminal::Failure;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::slice::Iter;
use std::str::FromStr;

/// A command line, a word at a time.
pub(crate) struct Words<'a>(Peekable<Iter<'a, String>>);

/// One word, which may be an option with its value: `--name=value`.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a> {
    pub(crate) whole: &'a str,
    pub(crate) name: &'a str,
    inline: Option<&'a str>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [String]) -> Self {
        Self(words.iter().peekable())
    }

    pub(crate) fn next_word(&mut self) -> Option<Word<'a>> {
        let whole = self.0.next()?.as_str();
        let (name, inline) = match whole.split_once('=') {
            Some((name, value)) if name.starts_with('-') => (name, Some(value)),
            _ => (whole, None),
        };
        Some(Word { whole, name, inline })
    }

    /// The value of an option, which messages call `shown`.
    pub(crate) fn value(&mut self, option: Word<'a>, shown: &str) -> Result<&'a str, String> {
        let value = option.inline.or_else(|| self.next_plain());
        value.ok_or_else(|| format!("argument {shown}: expected one argument"))
    }

    /// The next word, unless it is an option. A negative number is not an option.
    pub(crate) fn next_plain(&mut self) -> Option<&'a str> {
        self.0.next_if(|word| !word.starts_with('-') || word.parse::<f64>().is_ok()).map(String::as_str)
    }
}

/// The message for a word that is not among the tool's options.
pub(crate) fn unrecognized(words: &str) -> String {
    format!("unrecognized arguments: '{words}'")
}

/// An option's value as a number, which Java calls `java_type`.
pub(crate) fn number<T: FromStr>(shown: &str, text: &str, java_type: &str) -> Result<T, String> {
    text.parse().map_err(|_| {
        format!("argument {shown}: could not convert '{text}' to {java_type} (For input string: \"{text}\")")
    })
}

/// One named argument of a tool.
pub(crate) struct Arg {
    pub(crate) name: &'static str,
    /// Its placeholder in the help; `None` for a flag.
    pub(crate) metavar: Option<&'static str>,
    pub(crate) required: bool,
    pub(crate) default: Option<&'static str>,
    pub(crate) about: &'static str,
}

impl Arg {
    pub(crate) const fn flag(name: &'static str, about: &'static str) -> Self {
        Self { name, metavar: None, required: false, default: None, about }
    }

    pub(crate) const fn with(name: &'static str, metavar: &'static str, about: &'static str) -> Self {
        Self { name, metavar: Some(metavar), required: false, default: None, about }
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }
}

pub(crate) struct Parser {
    pub(crate) program: &'static str,
    pub(crate) about: &'static str,
    pub(crate) args: &'static [&'static Arg],
}

/// A parsed command line.
#[derive(Debug)]
pub(crate) struct Values {
    program: &'static str,
    found: BTreeMap<&'static str, String>,
}

impl Parser {
    /// An empty command line prints the help; an explicit request for it ends with 1, as in Kafka's tools.
    pub(crate) fn parse(&self, words: &[String]) -> Result<Values, Failure> {
        if words.is_empty() {
            return Err(Failure::Answered(self.help()));
        }
        if words.iter().any(|word| word == "-h" || word == "--help") {
            print!("{}", self.help());
            return Err(Failure::Exit(1));
        }
        self.read(words).map_err(|reason| self.error(&reason))
    }

    pub(crate) fn error(&self, reason: &str) -> Failure {
        Failure::message(format_args!("{}{}: error: {reason}", self.usage(), self.program))
    }

    fn read(&self, words: &[String]) -> Result<Values, String> {
        let mut found = BTreeMap::new();
        let mut words = Words::new(words);
        while let Some(word) = words.next_word() {
            let Some(arg) = self.args.iter().find(|arg| arg.name == word.name) else {
                return Err(unrecognized(word.whole));
            };
            let value = match arg.metavar {
                None => String::new(),
                Some(_) => words.value(word, arg.name)?.to_owned(),
            };
            found.insert(arg.name, value);
        }
        match self.args.iter().find(|arg| arg.required && !found.contains_key(arg.name)) {
            Some(missing) => Err(format!("argument {} is required", missing.name)),
            None => {
                for arg in self.args {
                    if let Some(default) = arg.default {
                        found.entry(arg.name).or_insert_with(|| default.to_owned());
                    }
                }
                Ok(Values { program: self.program, found })
            }
        }
    }

    fn usage(&self) -> String {
        let mut text = format!("usage: {} [-h]", self.program);
        for arg in self.args {
            let shown = arg.metavar.map_or_else(|| arg.name.to_owned(), |metavar| format!("{} {metavar}", arg.name));
            text += &if arg.required { format!(" {shown}") } else { format!(" [{shown}]") };
        }
        text + "\n"
    }

    fn help(&self) -> String {
        let mut text = format!("{}\n{}\n\nnamed arguments:\n", self.usage(), self.about);
        text += "  -h, --help             show this help message and exit\n";
        for arg in self.args {
            let metavar = arg.metavar.map(|metavar| format!(" {metavar}")).unwrap_or_default();
            let default = arg.default.map(|default| format!(" (default: {default})")).unwrap_or_default();
            text += &format!("  {}{metavar}\n                         {}{default}\n", arg.name, arg.about);
        }
        text
    }
}

impl Values {
    pub(crate) fn has(&self, arg: &Arg) -> bool {
        self.found.contains_key(arg.name)
    }

    pub(crate) fn get(&self, arg: &Arg) -> Option<&str> {
        self.found.get(arg.name).map(String::as_str)
    }

    /// A number; `java_type` is its type in the error message.
    pub(crate) fn number<T: FromStr>(&self, arg: &Arg, java_type: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.get(arg) else { return Ok(None) };
        number(arg.name, text, java_type)
            .map(Some)
            .map_err(|reason| Failure::message(format_args!("{}: error: {reason}", self.program)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Arg = Arg::with("--topic", "TOPIC", "The topic.").required();
    const ACKS: Arg = Arg::with("--acks", "ACKS", "Acks.").default("-1");
    const VERBOSE: Arg = Arg::flag("--verbose", "More.");
    const PARSER: Parser = Parser { program: "tool", about: "A tool.", args: &[&TOPIC, &ACKS, &VERBOSE] };

    fn read(words: &[&str]) -> Result<Values, String> {
        PARSER.read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn values_follow_and_numbers_below_zero_are_values() {
        let values = read(&["--topic", "t", "--acks", "-1", "--verbose"]).unwrap();
        assert_eq!((values.get(&TOPIC), values.number::<i32>(&ACKS, "Integer").unwrap()), (Some("t"), Some(-1)));
        assert!(values.has(&VERBOSE));
        assert_eq!(read(&["--topic=t"]).unwrap().get(&ACKS), Some("-1"));
    }

    #[test]
    fn errors_read_as_argparse4j_writes_them() {
        assert_eq!(read(&["--acks", "1"]).unwrap_err(), "argument --topic is required");
        assert_eq!(read(&["--topic", "--verbose"]).unwrap_err(), "argument --topic: expected one argument");
        assert_eq!(read(&["--foo"]).unwrap_err(), "unrecognized arguments: '--foo'");
    }
}
