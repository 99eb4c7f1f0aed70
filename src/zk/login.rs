//! Owns our credentials for ZooKeeper: the `Client` section of the JAAS file that Kafka's brokers are started with.
//! Kafka: `JaasUtils.isZkSaslEnabled`; ZooKeeper: `ZKClientConfig`.
//!
//! The file is named as for a JVM, so that a broker that replaces Apache's keeps its environment:
//! `KAFKA_OPTS="-Djava.security.auth.login.config=FILE"`, with `-Dzookeeper.sasl.client` and
//! `-Dzookeeper.sasl.clientconfig` as there.

use crate::config::jaas::{self, JaasError};
use std::collections::BTreeMap;
use std::fs;

const LOGIN_CONFIG: &str = "java.security.auth.login.config";
const SASL_CLIENT: &str = "zookeeper.sasl.client";
const LOGIN_CONTEXT: &str = "zookeeper.sasl.clientconfig";
const DIGEST_LOGIN_MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule";

/// Our credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why there are no credentials. Each of them fails the start.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("cannot read the JAAS file {file}: {error}")]
    Read { file: String, error: std::io::Error },
    #[error("JAAS file {file}: {error}")]
    Jaas { file: String, error: JaasError },
    #[error("section {section} of {file} is there, but {SASL_CLIENT}=false disables SASL to ZooKeeper")]
    Disabled { file: String, section: String },
    #[error(
        "section {section} of {file} uses {class}: only {DIGEST_LOGIN_MODULE} is served, with username and password"
    )]
    Unsupported { file: String, section: String, class: String },
}

/// The credentials in the JAAS file named in `KAFKA_OPTS`; None without a file or without its section.
pub fn from_environment() -> Result<Option<Credentials>, LoginError> {
    let options = std::env::var("KAFKA_OPTS").unwrap_or_default();
    let properties = system_properties(&options);
    let Some(file) = properties.get(LOGIN_CONFIG) else { return Ok(None) };
    let text = fs::read_to_string(file).map_err(|error| LoginError::Read { file: file.clone(), error })?;
    credentials(file, &text, &properties)
}

fn credentials(
    file: &str,
    text: &str,
    properties: &BTreeMap<String, String>,
) -> Result<Option<Credentials>, LoginError> {
    let file = file.to_owned();
    let sections = match jaas::parse(text) {
        Ok(sections) => sections,
        Err(error) => return Err(LoginError::Jaas { file, error }),
    };
    let section = properties.get(LOGIN_CONTEXT).map_or("Client", String::as_str);
    let Some(modules) = sections.get(section) else { return Ok(None) };
    let section = section.to_owned();
    if properties.get(SASL_CLIENT).is_some_and(|on| !on.eq_ignore_ascii_case("true")) {
        return Err(LoginError::Disabled { file, section });
    }
    let found = modules.iter().find(|module| module.class == DIGEST_LOGIN_MODULE).and_then(|module| {
        let option = |name: &str| module.options.get(name).cloned();
        Some(Credentials { username: option("username")?, password: option("password")? })
    });
    match found {
        Some(credentials) => Ok(Some(credentials)),
        None => {
            let class = modules.first().map_or_else(|| "no login module".to_owned(), |module| module.class.clone());
            Err(LoginError::Unsupported { file, section, class })
        }
    }
}

/// `-Dkey=value` words, as a shell splits them: a word may be in quotes, whole or in part.
fn system_properties(options: &str) -> BTreeMap<String, String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in options.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => words.push(String::new()),
            _ => words.iter_mut().last().expect("never empty").push(c),
        }
    }
    let properties = words.iter().filter_map(|word| word.strip_prefix("-D"));
    properties.map(|p| p.split_once('=').unwrap_or((p, ""))).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "Client { org.apache.zookeeper.server.auth.DigestLoginModule required username=\"k\" password=\"p\"; };
        Other { com.sun.security.auth.module.Krb5LoginModule required; };";

    fn read(options: &str) -> Result<Option<Credentials>, LoginError> {
        credentials("jaas.conf", FILE, &system_properties(options))
    }

    #[test]
    fn the_section_says_who_we_are() {
        let k = Credentials { username: "k".into(), password: "p".into() };
        assert_eq!(read("").unwrap(), Some(k));
        assert_eq!(read("-Dzookeeper.sasl.clientconfig=Missing").unwrap(), None);
        let kerberos = read("-Dzookeeper.sasl.clientconfig=Other").unwrap_err().to_string();
        assert!(kerberos.contains("section Other of jaas.conf uses com.sun.security.auth.module.Krb5LoginModule"));
        assert!(matches!(read("-Dzookeeper.sasl.client=false"), Err(LoginError::Disabled { .. })));
    }

    #[test]
    fn options_are_split_as_a_shell_does() {
        let properties = system_properties("-Xmx1g -Da=b  \"-Dc=d e\" -Df='g h' -Di");
        let expected = [("a", "b"), ("c", "d e"), ("f", "g h"), ("i", "")];
        assert_eq!(properties, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
}
