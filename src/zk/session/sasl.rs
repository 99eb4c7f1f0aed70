//! Owns how a session proves who it is: SASL DIGEST-MD5 (RFC 2831) as ZooKeeper's `DigestLoginModule` wants it. Pure.
//! ZooKeeper: `ZooKeeperSaslClient`, `SaslServerCallbackHandler`.
//!
//! ```text
//! → empty token       ← realm="zk-sasl-md5",nonce="…",qop="auth",charset=utf-8,algorithm=md5-sess
//! → response token    ← rspauth=…, which only a server that knows the password can compute
//! ```

use std::collections::BTreeMap;

use md5::{Digest, Md5};

/// Service and host of the digest URI: ZooKeeper's servers all go by this name.
const DIGEST_URI: &str = "zookeeper/zk-sasl-md5";
const NONCE_COUNT: &str = "00000001";

/// Who we are.
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SaslError {
    #[error("the server's challenge can't be read")]
    Malformed,
    #[error("the server asks for {0}, which DIGEST-MD5 here does not do")]
    Unsupported(String),
    #[error("the server does not know our password")]
    Server,
}

/// What we answered, and what the server has to answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) response: Vec<u8>,
    expected: String,
}

impl Exchange {
    /// Answers the server's challenge; `cnonce` is random and without quotes.
    pub(crate) fn answer(who: &Credentials, challenge: &[u8], cnonce: &str) -> Result<Self, SaslError> {
        let text = std::str::from_utf8(challenge).map_err(|_| SaslError::Malformed)?;
        let fields = directives(text)?;
        let field = |name: &str| fields.get(name).map(String::as_str);
        let nonce = field("nonce").ok_or(SaslError::Malformed)?;
        let realm = field("realm").unwrap_or_default();
        match field("algorithm") {
            Some("md5-sess") => {}
            other => return Err(SaslError::Unsupported(format!("algorithm {}", other.unwrap_or("none")))),
        }
        let qop = field("qop").unwrap_or("auth");
        if !qop.split(',').any(|q| q.trim() == "auth") {
            return Err(SaslError::Unsupported(format!("quality of protection {qop}")));
        }
        let secret = [encoded(&who.username), b":".to_vec(), encoded(realm), b":".to_vec(), encoded(&who.password)];
        let session_key = Md5::digest(secret.concat());
        let a1 = [&session_key[..], format!(":{nonce}:{cnonce}").as_bytes()].concat();
        let proof = |a2: &str| {
            let a2 = hex(&Md5::digest(a2));
            hex(&Md5::digest(format!("{}:{nonce}:{NONCE_COUNT}:{cnonce}:auth:{a2}", hex(&Md5::digest(&a1)))))
        };
        let response = format!(
            "charset=utf-8,username=\"{}\",realm=\"{}\",nonce=\"{}\",nc={NONCE_COUNT},cnonce=\"{cnonce}\",\
             digest-uri=\"{DIGEST_URI}\",maxbuf=65536,response={},qop=auth",
            escaped(&who.username),
            escaped(realm),
            escaped(nonce),
            proof(&format!("AUTHENTICATE:{DIGEST_URI}")),
        );
        Ok(Self { response: response.into_bytes(), expected: proof(&format!(":{DIGEST_URI}")) })
    }

    /// Whether the server has shown that it knows the password as well.
    pub(crate) fn check(&self, token: &[u8]) -> Result<(), SaslError> {
        let text = std::str::from_utf8(token).map_err(|_| SaslError::Malformed)?;
        let fields = directives(text)?;
        if fields.get("rspauth") == Some(&self.expected) { Ok(()) } else { Err(SaslError::Server) }
    }
}

/// `key=value` or `key="quoted \" value"`, between commas. The first of several counts: realms may repeat.
fn directives(text: &str) -> Result<BTreeMap<String, String>, SaslError> {
    let mut fields = BTreeMap::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| *c == ',' || c.is_whitespace()).is_some() {}
        let mut key = String::new();
        while let Some(c) = rest.next_if(|c| *c != '=') {
            key.push(c);
        }
        if rest.next().is_none() {
            return if key.is_empty() { Ok(fields) } else { Err(SaslError::Malformed) };
        }
        let mut value = String::new();
        if rest.next_if_eq(&'"').is_some() {
            loop {
                match rest.next().ok_or(SaslError::Malformed)? {
                    '"' => break,
                    '\\' => value.push(rest.next().ok_or(SaslError::Malformed)?),
                    c => value.push(c),
                }
            }
        } else {
            while let Some(c) = rest.next_if(|c| *c != ',') {
                value.push(c);
            }
        }
        fields.entry(key.trim().to_ascii_lowercase()).or_insert(value);
    }
}

/// RFC 2831 2.1.2.1: what fits into ISO 8859-1 is hashed in it, all else as UTF-8.
fn encoded(text: &str) -> Vec<u8> {
    let latin: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    latin.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chris() -> Credentials {
        Credentials { username: "chris".into(), password: "secret".into() }
    }

    /// Computed with Python's hashlib by the formulas of RFC 2831, section 2.1.2.1.
    #[test]
    fn the_answer_is_the_one_of_the_standard() {
        let challenge = br#"realm="zk-sasl-md5",nonce="OA6MG9tEQGm2hh",qop="auth",charset=utf-8,algorithm=md5-sess"#;
        let exchange = Exchange::answer(&chris(), challenge, "OA6MHXh6VqTrRk").unwrap();
        let response = String::from_utf8(exchange.response.clone()).unwrap();
        assert!(response.contains("response=08659cbbde96b164e9ebf4020a889fa8"), "{response}");
        assert_eq!(exchange.check(b"rspauth=6141d16333713b2592fc5680f8d67c3e"), Ok(()));
        assert_eq!(exchange.check(b"rspauth=00000000000000000000000000000000"), Err(SaslError::Server));
    }

    #[test]
    fn other_ways_are_refused() {
        let refused = |challenge: &str| Exchange::answer(&chris(), challenge.as_bytes(), "c").unwrap_err();
        assert_eq!(refused("nonce=\"a\",algorithm=md5"), SaslError::Unsupported("algorithm md5".into()));
        let confidential = refused("nonce=\"a\",qop=\"auth-conf\",algorithm=md5-sess");
        assert_eq!(confidential, SaslError::Unsupported("quality of protection auth-conf".into()));
        assert_eq!(refused("algorithm=md5-sess"), SaslError::Malformed);
        assert_eq!(refused("nonce=\"a"), SaslError::Malformed);
    }

    proptest! {
        #[test]
        fn any_challenge_is_answered_or_refused(challenge in prop::collection::vec(any::<u8>(), 0..60)) {
            drop(Exchange::answer(&chris(), &challenge, "c"));
        }
    }
}
