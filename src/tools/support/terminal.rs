//! Owns a tool's output: its exit, its buffered standard output, and log lines on standard error in the
//! layout of Kafka's `config/tools-log4j.properties` (`[%d] %p %m (%c)%n`, warnings and errors only).
//! A closed standard output is not an error: the tool just ends.

use super::options::OptionError;
use std::io::{self, BufWriter, Stdout, Write};
use std::process::ExitCode;

const OUTPUT_BUFFER_BYTES: usize = 64 * 1024;

/// Why a tool ends before its work is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The text goes to standard error; exit code 1.
    Message(String),
    /// The text goes to standard output and nothing is wrong.
    Answered(String),
    /// Everything has been printed; this is the exit code.
    Exit(u8),
}

impl Failure {
    pub(crate) fn message(text: impl ToString) -> Self {
        Self::Message(text.to_string())
    }
}

impl From<OptionError> for Failure {
    fn from(e: OptionError) -> Self {
        Self::message(e)
    }
}

/// Only writing to standard output goes through here.
impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Self::Exit(0),
            _ => Self::Message(format!("write to standard output: {e}")),
        }
    }
}

/// Standard output, buffered, and not locked: a client's thread may report in between. Output that is not flushed
/// before the drop is lost: [`finish`] flushes.
pub(crate) type Output = BufWriter<Stdout>;

/// Runs a tool's body and turns its result into an exit code.
pub(crate) fn finish(body: impl FnOnce(&mut Output) -> Result<(), Failure>) -> ExitCode {
    let mut output = BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, io::stdout());
    let result = body(&mut output).and_then(|()| Ok(output.flush()?));
    let (code, last_words) = match result {
        Ok(()) => (0, None),
        Err(Failure::Exit(code)) => (code, None),
        Err(Failure::Answered(text)) => (0, output.write_all(text.as_bytes()).err()),
        Err(Failure::Message(text)) => {
            // Output from before the failure comes first, as from an unbuffered stream.
            let flushed = output.flush();
            say(text.strip_suffix('\n').unwrap_or(&text));
            (1, flushed.err())
        }
    };
    match output.flush().err().or(last_words) {
        Some(e) if e.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::from(code),
    }
}

/// A line on standard error. A failure to write it cannot be reported.
pub(crate) fn say(text: impl std::fmt::Display) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

pub(crate) fn warn(class: &str, message: impl std::fmt::Display) {
    log("WARN", class, message);
}

pub(crate) fn error(class: &str, message: impl std::fmt::Display) {
    log("ERROR", class, message);
}

fn log(level: &str, class: &str, message: impl std::fmt::Display) {
    let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f");
    say(format_args!("[{now}] {level} {message} ({class})"));
}
