//! Owns the properties file format. Java: `java.util.Properties.load(InputStream)`, exactly, since the same files start
//! an Apache broker: Latin-1 bytes, `\uXXXX` escapes, `#` and `!` comments, `=`, `:` or white space after a key, lines
//! continued by a final backslash. Absent on purpose: writing files, `${provider:path:key}` values.

use super::def::{ConfigError, Props};

/// Parses a properties file. Of a key that is given twice the last value counts, as in Java.
///
/// The only syntax error of the format is a `\u` without four hexadecimal digits.
pub fn properties(bytes: &[u8]) -> Result<Props, ConfigError> {
    let mut props = Props::new();
    let mut reader = LineReader { bytes, at: 0 };
    let mut line = Vec::new();
    while reader.next_line(&mut line) {
        let (key, value) = split_line(&line);
        props.insert(unescape(key)?, unescape(value)?);
    }
    Ok(props)
}

/// Splits the `key=value` that follows `--override` at its first `=`; without one the value is empty.
/// Kafka: `CommandLineUtils.parseKeyValueArgs`.
pub fn override_property(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\x0c')
}

struct LineReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl LineReader<'_> {
    /// Reads the next logical line into `line`: comments and blank lines skipped, continued lines joined, escapes kept.
    /// Returns whether there was one.
    fn next_line(&mut self, line: &mut Vec<u8>) -> bool {
        line.clear();
        let mut skip_space = true;
        let mut joined = false;
        let mut escaped = false;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            let line_end = matches!(byte, b'\n' | b'\r');
            if skip_space {
                if is_space(byte) || (line_end && !joined) {
                    continue;
                }
                skip_space = false;
                joined = false;
            }
            if line.is_empty() && matches!(byte, b'#' | b'!') {
                let rest = &self.bytes[self.at..];
                self.at += rest.iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(rest.len(), |n| n + 1);
                skip_space = true;
            } else if !line_end {
                line.push(byte);
                escaped = byte == b'\\' && !escaped;
            } else if line.is_empty() {
                skip_space = true;
            } else if escaped {
                line.pop();
                // At the end of the file Java returns what it has read, even an empty line, which becomes the empty
                // key.
                if self.at == self.bytes.len() {
                    return true;
                }
                escaped = false;
                skip_space = true;
                joined = true;
                if byte == b'\r' && self.bytes.get(self.at) == Some(&b'\n') {
                    self.at += 1;
                }
            } else {
                return true;
            }
        }
        if escaped {
            line.pop();
            return true;
        }
        !line.is_empty()
    }
}

/// Splits a logical line at the first separator that no backslash protects.
fn split_line(line: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let key_end = line
        .iter()
        .position(|&b| {
            let separates = !escaped && (is_space(b) || b == b'=' || b == b':');
            escaped = b == b'\\' && !escaped;
            separates
        })
        .unwrap_or(line.len());
    let (key, mut value) = line.split_at(key_end);
    let mut separator_seen = false;
    while let Some((&byte, rest)) = value.split_first() {
        if !is_space(byte) {
            if separator_seen || (byte != b'=' && byte != b':') {
                break;
            }
            separator_seen = true;
        }
        value = rest;
    }
    (key, value)
}

fn unescape(raw: &[u8]) -> Result<String, ConfigError> {
    // Escapes are UTF-16 units, so a character beyond the first plane is two of them.
    let mut units: Vec<u16> = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        match bytes.next() {
            None => {}
            Some(b'u') => {
                let digits: Option<Vec<u32>> = bytes.by_ref().take(4).map(|d| char::from(*d).to_digit(16)).collect();
                match digits.as_deref() {
                    Some([a, b, c, d]) => units.push(((a << 12) | (b << 8) | (c << 4) | d) as u16),
                    _ => return Err(ConfigError::rule("Malformed \\uxxxx encoding.")),
                }
            }
            Some(b't') => units.push(u16::from(b'\t')),
            Some(b'r') => units.push(u16::from(b'\r')),
            Some(b'n') => units.push(u16::from(b'\n')),
            Some(b'f') => units.push(0x0c),
            Some(&other) => units.push(u16::from(other)),
        }
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Inputs and results written by `java.util.Properties` of Java 17: `[input, {key: value}]` or `[input, "error"]`.
    const GOLDEN: &str = include_str!("testdata/properties-java-17.jsonl");

    #[test]
    fn reads_what_java_reads() {
        let mut cases = 0;
        for line in GOLDEN.lines() {
            let (input, expected): (String, serde_json::Value) = serde_json::from_str(line).unwrap();
            let bytes: Vec<u8> = input.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
            let found = match properties(&bytes) {
                Ok(props) => serde_json::to_value(props).unwrap(),
                Err(e) => serde_json::Value::String(e.to_string()),
            };
            assert_eq!(found, expected, "{input:?}");
            cases += 1;
        }
        assert!(cases > 400);
    }

    #[test]
    fn an_override_splits_at_its_first_equals_sign() {
        assert_eq!(override_property("a=b=c"), ("a".to_owned(), "b=c".to_owned()));
        assert_eq!(override_property("a"), ("a".to_owned(), String::new()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(properties(&bytes));
        }
    }
}
