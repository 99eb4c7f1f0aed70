//! Holds every message in every version against the crate `kafka-protocol`, which was generated from the same release.

use super::messages::*;
use super::random::Random;
use super::*;
use crate::every_api;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Values for each message and version.
const ROUNDS: u64 = 40;

fn encoded<M: Message>(message: &M, version: i16) -> Bytes {
    let mut w = Writer::default();
    message.encode(&mut w, version).unwrap();
    let (bytes, cuts) = w.into_parts();
    assert_eq!(cuts, []);
    bytes
}

type PeerKey = kafka_protocol::messages::ApiKey;

/// Bytes through the peer's decoder and encoder.
type Peer = fn(PeerKey, Bytes, i16) -> Result<BytesMut, Box<dyn std::error::Error>>;

fn peer_request(key: PeerKey, mut bytes: Bytes, version: i16) -> Result<BytesMut, Box<dyn std::error::Error>> {
    let message = RequestKind::decode(key, &mut bytes, version)?;
    if !bytes.is_empty() {
        return Err(format!("the peer left {} bytes", bytes.len()).into());
    }
    let mut out = BytesMut::new();
    message.encode(&mut out, version)?;
    Ok(out)
}

fn peer_response(key: PeerKey, mut bytes: Bytes, version: i16) -> Result<BytesMut, Box<dyn std::error::Error>> {
    let message = ResponseKind::decode(key, &mut bytes, version)?;
    if !bytes.is_empty() {
        return Err(format!("the peer left {} bytes", bytes.len()).into());
    }
    let mut out = BytesMut::new();
    message.encode(&mut out, version)?;
    Ok(out)
}

fn agree_on<M: Message + Random>(key: ApiKey, peer: Peer, problems: &mut Vec<String>) {
    assert_eq!(M::VERSIONS, key.versions(), "{}", M::NAME);
    assert_eq!(M::FLEXIBLE_FROM, key.flexible_from(), "{}", M::NAME);
    let peer_key = PeerKey::try_from(key.wire()).unwrap();
    for version in M::VERSIONS {
        for seed in 0..ROUNDS {
            let value = M::random(&mut StdRng::seed_from_u64(seed), M::version(version));
            let ours = encoded(&value, version);
            let mut r = Reader::new(ours.clone());
            assert_eq!(M::decode(&mut r, version).as_ref(), Ok(&value), "{} v{version} seed {seed}", M::NAME);
            assert_eq!(r.remaining(), 0, "{} v{version} seed {seed}", M::NAME);
            let problem = match peer(peer_key, ours.clone(), version) {
                Err(e) => e.to_string(),
                Ok(theirs) if theirs != ours => format!("ours {ours:?} theirs {theirs:?}"),
                Ok(_) => continue,
            };
            problems.push(format!("{} v{version} seed {seed}: {problem}", M::NAME));
            break;
        }
    }
}

#[test]
fn every_message_in_every_version_is_the_peers() {
    let mut problems = Vec::new();
    macro_rules! agree {
        ($($key:ident: $request:ident => $response:ident;)*) => {
            $(
                agree_on::<$request>(ApiKey::$key, peer_request, &mut problems);
                agree_on::<$response>(ApiKey::$key, peer_response, &mut problems);
            )*
        };
    }
    every_api!(agree);
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_default_is_the_peers() {
    let mut problems = Vec::new();
    macro_rules! defaults {
        ($($key:ident: $request:ident => $response:ident;)*) => {
            $(for version in ApiKey::$key.versions() {
                let mut theirs = BytesMut::new();
                let result = RequestKind::$key(kafka_protocol::messages::$request::default()).encode(&mut theirs, version);
                if result.is_err() || theirs != encoded(&$request::default(), version) {
                    problems.push(format!("{} v{version}: {result:?}", stringify!($request)));
                }
                let mut theirs = BytesMut::new();
                let result = ResponseKind::$key(kafka_protocol::messages::$response::default()).encode(&mut theirs, version);
                if result.is_err() || theirs != encoded(&$response::default(), version) {
                    problems.push(format!("{} v{version}: {result:?}", stringify!($response)));
                }
            })*
        };
    }
    every_api!(defaults);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
