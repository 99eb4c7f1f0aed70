//! Decides who may do what: identities of a connection against the ACL of a node. Counterpart: `ZooKeeperServer.checkACL`,
//! `PrepRequestProcessor.fixupACL`, the digest and ip authentication providers. Absent on purpose: SASL, x509, super users.

use crate::zookeeper::wire::{Acl, Id};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest, Sha1};

/// The identity that a digest `user:password` proves: `user:base64(sha1(user:password))`.
pub(super) fn digest_id(user_and_password: &[u8]) -> Id {
    let text = String::from_utf8_lossy(user_and_password);
    let user = text.split(':').next().unwrap_or_default();
    let hash = BASE64.encode(Sha1::digest(text.as_bytes()));
    Id { scheme: "digest".to_owned(), id: format!("{user}:{hash}") }
}

/// Whether one of `auth` holds one of `perms`. An empty ACL is open.
pub(super) fn permits(acl: &[Acl], perms: i32, auth: &[Id]) -> bool {
    acl.is_empty() || acl.iter().filter(|a| a.perms & perms != 0).any(|a| names_one_of(&a.id, auth))
}

fn names_one_of(wanted: &Id, auth: &[Id]) -> bool {
    if is_world(wanted) {
        return true;
    }
    auth.iter().filter(|id| id.scheme == wanted.scheme).any(|id| match wanted.scheme.as_str() {
        "digest" => id.id == wanted.id,
        "ip" => ip_matches(&id.id, &wanted.id),
        _ => false,
    })
}

fn is_world(id: &Id) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

/// The ACL as it is stored: duplicates dropped, `auth` replaced by the caller's identities. None: invalid.
pub(super) fn resolve(acl: Vec<Acl>, auth: &[Id]) -> Option<Vec<Acl>> {
    let mut unique: Vec<Acl> = Vec::with_capacity(acl.len());
    for entry in acl {
        if !unique.contains(&entry) {
            unique.push(entry);
        }
    }
    let mut resolved = Vec::with_capacity(unique.len());
    for entry in unique {
        match entry.id.scheme.as_str() {
            "auth" => {
                // An address is not authenticated: only what a client proved counts.
                let before = resolved.len();
                let proven = auth.iter().filter(|id| id.scheme == "digest");
                resolved.extend(proven.map(|id| Acl { perms: entry.perms, id: id.clone() }));
                if resolved.len() == before {
                    return None;
                }
            }
            "digest" if entry.id.id.split(':').count() == 2 => resolved.push(entry),
            "ip" if parse_ip(&entry.id.id).is_some() => resolved.push(entry),
            _ if is_world(&entry.id) => resolved.push(entry),
            _ => return None,
        }
    }
    (!resolved.is_empty()).then_some(resolved)
}

/// The ACL as it is shown to a client that may read but not administer the node: without hashes.
pub(super) fn masked(acl: &[Acl]) -> Vec<Acl> {
    let mask = |entry: &Acl| match (entry.id.scheme.as_str(), entry.id.id.split_once(':')) {
        ("digest", Some((user, _))) => Acl::new(entry.perms, "digest", &format!("{user}:x")),
        _ => entry.clone(),
    };
    acl.iter().map(mask).collect()
}

/// `a.b.c.d` or `a.b.c.d/bits` as address and prefix length. ZooKeeper's provider knows no IPv6.
fn parse_ip(text: &str) -> Option<(u32, u32)> {
    let (address, bits) = match text.split_once('/') {
        None => (text, 32),
        Some((address, bits)) => (address, bits.parse().ok().filter(|bits| *bits <= 32)?),
    };
    let mut parsed = 0u32;
    let mut parts = 0;
    for part in address.split('.') {
        parsed = (parsed << 8) | u32::from(part.parse::<u8>().ok()?);
        parts += 1;
        if parts > 4 {
            return None;
        }
    }
    (parts == 4).then_some((parsed, bits))
}

fn ip_matches(address: &str, wanted: &str) -> bool {
    let (Some((address, 32)), Some((wanted, bits))) = (parse_ip(address), parse_ip(wanted)) else { return false };
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    address & mask == wanted & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_the_one_of_zookeepers_documentation() {
        assert_eq!(digest_id(b"super:test").id, "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
    }

    #[test]
    fn ip_entries_match_by_prefix() {
        assert!(ip_matches("10.1.2.3", "10.1.0.0/16"));
        assert!(!ip_matches("10.2.2.3", "10.1.0.0/16"));
        assert!(ip_matches("10.2.2.3", "1.1.1.1/0"));
        assert!(!ip_matches("::1", "127.0.0.1"));
        assert_eq!(
            [parse_ip("1.2.3"), parse_ip("1.2.3.4.5"), parse_ip("1.2.3.256"), parse_ip("1.2.3.4/33")],
            [None; 4]
        );
    }
}
