//! Owns where a broker listens: listener name, security protocol, host, port. Kafka: `EndPoint`, `SecurityProtocol`.

use std::fmt;

/// What a listener speaks below Kafka's own protocol. The discriminant is the wire value of UpdateMetadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum SecurityProtocol {
    Plaintext = 0,
    Ssl = 1,
    SaslPlaintext = 2,
    SaslSsl = 3,
}

impl SecurityProtocol {
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// In any case, as Kafka's `SecurityProtocol.forName`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name().eq_ignore_ascii_case(name))
    }

    pub fn from_wire(id: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.wire() == id)
    }

    pub const fn wire(self) -> i16 {
        self as i16
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One address of a broker. Displays as Kafka's connection string, `LISTENER://host:port`, IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Upper-case, as Kafka normalises it.
    pub listener: String,
    pub security_protocol: SecurityProtocol,
    /// Empty means "no host", which Kafka writes as `LISTENER://:port`.
    pub host: String,
    pub port: i32,
}

/// What may stand in the host part of an endpoint: Kafka's `URI_PARSE_REGEXP`.
fn is_host_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-%._:".contains(c)
}

impl Endpoint {
    /// Splits `LISTENER://host:port` into its three parts; the listener name is upper-cased. None for any other shape.
    pub fn split(text: &str) -> Option<(String, String, i32)> {
        let (listener, address) = text.split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port: i32 = port.parse().ok()?;
        host.chars().all(is_host_character).then(|| (listener.to_uppercase(), host.to_owned(), port))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.listener, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.listener, self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_back_what_they_display() {
        for text in ["PLAINTEXT://b1.example:9092", "REPLICATION://[2001:db8::1%eth0]:9093", "SSL://:9094"] {
            let (listener, host, port) = Endpoint::split(text).expect(text);
            let shown = Endpoint { listener, security_protocol: SecurityProtocol::Ssl, host, port }.to_string();
            assert_eq!(shown, text);
        }
    }

    #[test]
    fn strange_endpoints_are_refused() {
        for text in ["", "PLAINTEXT", "PLAINTEXT://host", "PLAINTEXT://ho st:1", "PLAINTEXT://host:port"] {
            assert_eq!(Endpoint::split(text), None, "{text}");
        }
    }
}
