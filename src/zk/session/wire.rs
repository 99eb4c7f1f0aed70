//! Owns the frame around what a client sends and gets: handshake and headers. Pure. The records are those of
//! [`crate::zookeeper::wire`], in [`crate::zookeeper::jute`]. ZooKeeper: `ConnectRequest`, `RequestHeader`, `ReplyHeader`.
//!
//! ```text
//! packet      | length i32 | header | body |
//! request     header | xid i32 | op i32 |
//! reply       header | xid i32 | zxid i64 | error i32 |, xid -1 is a watch event
//! handshake   | protocol i32 | last zxid i64 | timeout ms i32 | session i64 | password buffer | read-only bool |
//!             → | protocol i32 | timeout ms i32 | session i64 | password buffer | read-only bool (3.4 and later) |
//! ```

use bytes::{BufMut, BytesMut};

use crate::zookeeper::jute::{Malformed, Reader, Writer};
use crate::zookeeper::wire::Code;

pub(crate) mod xid {
    pub(crate) const EVENT: i32 = -1;
    pub(crate) const PING: i32 = -2;
    pub(crate) const AUTH: i32 = -4;
    pub(crate) const SET_WATCHES: i32 = -8;
    /// Of a request before the session's own traffic, which is alone on its connection: any number does.
    pub(crate) const FIRST: i32 = 0;
}

/// Reply codes that mean something to a client. ZooKeeper: `KeeperException.Code`.
pub(crate) mod code {
    use super::Code;

    pub(crate) const RUNTIME_INCONSISTENCY: i32 = Code::RuntimeInconsistency as i32;
    /// From a server that is going down.
    pub(crate) const CONNECTION_LOSS: i32 = -4;
    pub(crate) const NO_NODE: i32 = Code::NoNode as i32;
    pub(crate) const NO_AUTH: i32 = Code::NoAuth as i32;
    pub(crate) const BAD_VERSION: i32 = Code::BadVersion as i32;
    pub(crate) const NODE_EXISTS: i32 = Code::NodeExists as i32;
    pub(crate) const NOT_EMPTY: i32 = Code::NotEmpty as i32;
    pub(crate) const SESSION_EXPIRED: i32 = Code::SessionExpired as i32;
    pub(crate) const INVALID_ACL: i32 = Code::InvalidAcl as i32;
    pub(crate) const AUTH_FAILED: i32 = Code::AuthFailed as i32;
    /// Another server of the ensemble has the session now.
    pub(crate) const SESSION_MOVED: i32 = -118;
}

/// The first packet of a connection. `session` 0 asks for a new session.
pub(crate) fn handshake(last_zxid: i64, timeout_ms: i32, session: i64, password: &[u8]) -> Vec<u8> {
    let mut w = Writer::default();
    w.frame(|w| {
        w.int(0);
        w.long(last_zxid);
        w.int(timeout_ms);
        w.long(session);
        w.buffer(Some(password));
        w.bool(false);
    });
    w.bytes
}

/// The answer to a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// What the server granted, in ms; 0 or less says that the session is gone.
    pub(crate) timeout_ms: i32,
    pub(crate) session: i64,
    pub(crate) password: Vec<u8>,
}

impl Welcome {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(body);
        let _protocol = r.int()?;
        let (timeout_ms, session) = (r.int()?, r.long()?);
        let password = r.slice()?.ok_or(Malformed("no password"))?.to_vec();
        Ok(Self { timeout_ms, session, password })
    }
}

/// Appends a whole request packet.
pub(crate) fn put_request(out: &mut BytesMut, xid: i32, op: i32, body: &[u8]) {
    out.put_i32(8 + body.len() as i32);
    out.put_i32(xid);
    out.put_i32(op);
    out.put_slice(body);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyHeader {
    pub(crate) xid: i32,
    pub(crate) zxid: i64,
    pub(crate) error: i32,
}

impl ReplyHeader {
    pub(crate) const LEN: usize = 16;

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { xid: r.int()?, zxid: r.long()?, error: r.int()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshake_is_the_44_bytes_and_a_flag_that_every_client_sends() {
        let packet = handshake(0, 18_000, 0, &[0; 16]);
        assert_eq!(packet.len(), 4 + 45);
        assert_eq!(packet[..4], 45i32.to_be_bytes());
        assert_eq!(packet[16..20], 18_000i32.to_be_bytes());
    }
}
