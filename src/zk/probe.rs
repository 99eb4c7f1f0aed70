//! Owns the check whether a server's history is as long as what we have seen: the package cannot do it, since it
//! attaches to a session without a last zxid. A server that is behind, such as a lagging follower or an ensemble
//! restored from an older copy, closes the connection of a client that has seen more, in place of an answer.
//!
//! ```text
//! →  | length i32 | protocol i32 | last zxid i64 | timeout ms i32 | session i64 | password buffer | read-only bool |
//! ←  | length i32 | … |
//! →  | length i32 | xid i32 | closeSession i32 |
//! ```

use super::ensemble::Met;
use bytes::{BufMut, BytesMut};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The server grants its minimum: the session is closed at once.
const TIMEOUT_MS: i32 = 1;
const NO_PASSWORD: [u8; 16] = [0; 16];
const CLOSE_SESSION: i32 = -11;

/// Probes as a stranger: the answer is a separate session, which is closed again. The error is how the address refused
/// us.
pub(super) async fn reaches(address: SocketAddr, zxid: i64) -> Result<(), Met> {
    let mut stream = TcpStream::connect(address).await.map_err(|_| Met::Unreachable)?;
    let mut greeting = BytesMut::with_capacity(49);
    greeting.put_i32(45);
    greeting.put_i32(0);
    greeting.put_i64(zxid);
    greeting.put_i32(TIMEOUT_MS);
    greeting.put_i64(0);
    greeting.put_i32(NO_PASSWORD.len() as i32);
    greeting.put_slice(&NO_PASSWORD);
    greeting.put_u8(0);
    let answered = async {
        stream.write_all(&greeting).await?;
        stream.read_i32().await
    };
    answered.await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Met::Closed,
        _ => Met::Other,
    })?;
    let mut goodbye = BytesMut::with_capacity(12);
    goodbye.put_i32(8);
    goodbye.put_i32(0);
    goodbye.put_i32(CLOSE_SESSION);
    stream.write_all(&goodbye).await.map_err(|_| Met::Other)
}
