//! Owns ZooKeeper's packets as a client sees them. Pure. ZooKeeper: `zookeeper.jute`, `ZooDefs.OpCode`.
//!
//! ```text
//! packet      | length i32 | header | body |
//! request     header | xid i32 | op i32 |
//! reply       header | xid i32 | zxid i64 | error i32 |, xid -1 is a watch event
//! handshake   | protocol i32 | last zxid i64 | timeout ms i32 | session i64 | password buffer | read-only bool |
//!             → | protocol i32 | timeout ms i32 | session i64 | password buffer | read-only bool (3.4 and later) |
//! buffer, text | length i32 | bytes |, -1 is null, which ZooKeeper keeps apart from empty
//! ```

use bytes::{BufMut, BytesMut};

pub(crate) mod op {
    pub(crate) const CREATE: i32 = 1;
    pub(crate) const DELETE: i32 = 2;
    pub(crate) const EXISTS: i32 = 3;
    pub(crate) const GET_DATA: i32 = 4;
    pub(crate) const SET_DATA: i32 = 5;
    pub(crate) const GET_ACL: i32 = 6;
    pub(crate) const PING: i32 = 11;
    pub(crate) const GET_CHILDREN: i32 = 8;
    pub(crate) const CHECK: i32 = 13;
    pub(crate) const MULTI: i32 = 14;
    pub(crate) const AUTH: i32 = 100;
    pub(crate) const SET_WATCHES: i32 = 101;
    pub(crate) const CLOSE: i32 = -11;
}

pub(crate) mod xid {
    pub(crate) const EVENT: i32 = -1;
    pub(crate) const PING: i32 = -2;
    pub(crate) const AUTH: i32 = -4;
    pub(crate) const SET_WATCHES: i32 = -8;
}

/// Reply codes. ZooKeeper: `KeeperException.Code`.
pub(crate) mod code {
    pub(crate) const RUNTIME_INCONSISTENCY: i32 = -2;
    pub(crate) const CONNECTION_LOSS: i32 = -4;
    pub(crate) const NO_NODE: i32 = -101;
    pub(crate) const NO_AUTH: i32 = -102;
    pub(crate) const BAD_VERSION: i32 = -103;
    pub(crate) const NODE_EXISTS: i32 = -110;
    pub(crate) const NOT_EMPTY: i32 = -111;
    pub(crate) const SESSION_EXPIRED: i32 = -112;
    pub(crate) const INVALID_ACL: i32 = -114;
    pub(crate) const AUTH_FAILED: i32 = -115;
    pub(crate) const SESSION_MOVED: i32 = -118;
}

/// A packet that is no packet: the connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unreadable packet from ZooKeeper")]
pub struct Broken;

pub(crate) fn put_buffer(out: &mut BytesMut, data: Option<&[u8]>) {
    match data {
        None => out.put_i32(-1),
        Some(data) => {
            // Requests are far below 2 GiB: `Client` refuses larger ones before they get here.
            out.put_i32(data.len() as i32);
            out.put_slice(data);
        }
    }
}

pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    put_buffer(out, Some(text.as_bytes()));
}

/// Reads a packet from its front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Broken> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Broken)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Broken> {
        Ok(self.take(1)?[0] != 0)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Broken> {
        let bytes = self.take(4)?.try_into().map_err(|_| Broken)?;
        Ok(i32::from_be_bytes(bytes))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Broken> {
        let bytes = self.take(8)?.try_into().map_err(|_| Broken)?;
        Ok(i64::from_be_bytes(bytes))
    }

    pub(crate) fn buffer(&mut self) -> Result<Option<&'a [u8]>, Broken> {
        match self.i32()? {
            -1 => Ok(None),
            n => self.take(usize::try_from(n).map_err(|_| Broken)?).map(Some),
        }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Broken> {
        std::str::from_utf8(self.buffer()?.ok_or(Broken)?).map_err(|_| Broken)
    }

    /// A list of text; null reads as empty.
    pub(crate) fn texts(&mut self) -> Result<Vec<String>, Broken> {
        // Every entry has a length of four bytes, so a claimed count cannot make us reserve more than came in.
        let count = self.i32()?.max(0) as usize;
        let mut out = Vec::with_capacity(count.min(self.0.len() / 4));
        for _ in 0..count {
            out.push(self.text()?.to_owned());
        }
        Ok(out)
    }

    pub(crate) fn stat(&mut self) -> Result<Stat, Broken> {
        Ok(Stat {
            czxid: self.i64()?,
            mzxid: self.i64()?,
            ctime: self.i64()?,
            mtime: self.i64()?,
            version: self.i32()?,
            cversion: self.i32()?,
            aversion: self.i32()?,
            ephemeral_owner: self.i64()?,
            data_length: self.i32()?,
            num_children: self.i32()?,
            pzxid: self.i64()?,
        })
    }
}

/// What ZooKeeper keeps about a node beside its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The transaction that created the node; of a broker's registration, the broker epoch.
    pub czxid: i64,
    pub mzxid: i64,
    /// Milliseconds since the epoch, on the clock of the ensemble's leader.
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    /// The session that holds an ephemeral node; 0 for a persistent one.
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: i64,
}

/// Who may do what with a node: permission bits for an id in a scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub permissions: i32,
    pub scheme: String,
    pub id: String,
}

pub(crate) fn put_acls(out: &mut BytesMut, acls: &[Acl]) {
    out.put_i32(acls.len() as i32);
    for acl in acls {
        out.put_i32(acl.permissions);
        put_text(out, &acl.scheme);
        put_text(out, &acl.id);
    }
}

/// The first packet of a connection. `session` 0 asks for a new session.
pub(crate) fn handshake(last_zxid: i64, timeout_ms: i32, session: i64, password: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(64);
    out.put_i32(0);
    out.put_i32(0);
    out.put_i64(last_zxid);
    out.put_i32(timeout_ms);
    out.put_i64(session);
    put_buffer(&mut out, Some(password));
    out.put_u8(0);
    fill_in_length(&mut out, 0);
    out
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
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Broken> {
        let mut reader = Reader(body);
        let _protocol = reader.i32()?;
        let timeout_ms = reader.i32()?;
        let session = reader.i64()?;
        let password = reader.buffer()?.ok_or(Broken)?.to_vec();
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

fn fill_in_length(out: &mut BytesMut, at: usize) {
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyHeader {
    pub(crate) xid: i32,
    pub(crate) zxid: i64,
    pub(crate) error: i32,
}

impl ReplyHeader {
    pub(crate) const LEN: usize = 16;

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Broken> {
        Ok(Self { xid: reader.i32()?, zxid: reader.i64()?, error: reader.i32()? })
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

    #[test]
    fn null_and_empty_are_different() {
        let mut out = BytesMut::new();
        put_buffer(&mut out, None);
        put_buffer(&mut out, Some(b""));
        let mut reader = Reader(&out);
        assert_eq!(reader.buffer(), Ok(None));
        assert_eq!(reader.buffer(), Ok(Some(&b""[..])));
    }

    #[test]
    fn claims_beyond_the_packet_are_broken() {
        let mut claim = BytesMut::new();
        claim.put_i32(i32::MAX);
        assert_eq!(Reader(&claim).buffer(), Err(Broken));
        assert_eq!(Reader(&claim).texts(), Err(Broken));
        assert_eq!(Reader(&[0, 0]).i32(), Err(Broken));
        assert_eq!(Reader(&[0xff, 0xff, 0xff, 0xfe]).buffer(), Err(Broken));
    }
}
