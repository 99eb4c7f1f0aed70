//! Owns the form of the kept inputs: a line is a message, a version and the bytes in hexadecimal; `#` starts a comment.
//! Compiled into tests only.

/// One valid encoding of every message in every version.
pub(crate) const VALID: &str = include_str!("../../zk-tests/protocol/corpus/valid.txt");

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) message: String,
    pub(crate) version: i16,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn entries(text: &str) -> Vec<Entry> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| entry(line).unwrap_or_else(|| panic!("not a corpus line: {line}"))).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let (message, version, hex) = (words.next()?, words.next()?, words.next()?);
    Some(Entry { message: message.to_owned(), version: version.parse().ok()?, bytes: unhex(hex)? })
}

pub(crate) fn line(message: &str, version: i16, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{message} {version} {hex}")
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
