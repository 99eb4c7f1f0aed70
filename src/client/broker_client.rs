//! Owns a plain connection to a broker on which one request is under way at a time, from another broker or a tool. Kafka:
//! `NetworkClient`. As there, `ControllerChannelManager`, replica fetchers and controlled shutdown take the versions of
//! the inter-broker protocol; others ask for them first.
//!
//! Absent on purpose: retries (the caller knows what may be sent twice), TLS and SASL.

use crate::common::ErrorCode;
use crate::protocol::frame::{self, FrameError};
use crate::protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use crate::protocol::{ApiKey, DecodeError, EncodeError, Frame, Message, Reader, RequestHeader, ResponseHeader, Str};
use crate::util::dial::dial;
use bytes::BytesMut;
use rustix::net::{RecvFlags, recv};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// The longest answer that is taken: Kafka's inter-broker clients have no bound, a broker's own requests have this one.
const MAX_RESPONSE_BYTES: usize = 100 << 20;

/// The first room for an answer: it grows as bytes come, not by what they claim.
const READ_STEP: usize = 64 << 10;

/// Why a call has no answer. After any of these the connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("answer {got} to request {sent}")]
    Correlation { sent: i32, got: i32 },
    #[error("answer: {0}")]
    Frame(#[from] FrameError),
    #[error("answer: {0}")]
    Decode(#[from] DecodeError),
    /// Our own mistake: a field that the version cannot carry.
    #[error("request: {0}")]
    Encode(#[from] EncodeError),
}

/// Which versions of which APIs a broker has, by the number of the API.
pub type ApiVersions = BTreeMap<i16, RangeInclusive<i16>>;

/// The version of ApiVersions that is asked for first.
const API_VERSIONS_VERSION: i16 = 3;

pub struct BrokerConnection {
    stream: TcpStream,
    client_id: Str,
    next_correlation_id: i32,
    /// Answers are read into it, and it is used again once they are dropped.
    buffer: BytesMut,
}

impl BrokerConnection {
    /// The name is resolved at every connection, and each of its addresses is tried.
    pub async fn connect(host: &str, port: u16, client_id: Str, within: Duration) -> Result<Self, CallError> {
        Self::connect_with(host, port, client_id, within, None).await
    }

    /// As [`Self::connect`], with an SO_RCVBUF in bytes: it is set before the window is agreed on. None leaves the system's.
    pub async fn connect_with(
        host: &str,
        port: u16,
        client_id: Str,
        within: Duration,
        receive_buffer_bytes: Option<u32>,
    ) -> Result<Self, CallError> {
        let stream = dial(host, port, within, |address| open(address, receive_buffer_bytes)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, client_id, next_correlation_id: 0, buffer: BytesMut::new() })
    }

    /// Whether the other side still keeps the connection. Every broker closes what was idle for
    /// `connections.max.idle.ms`, so a connection is looked at before it is used again. One that is closed after the look
    /// fails its call, as any other that is lost.
    pub fn is_alive(&self) -> bool {
        // The system is asked, not the runtime: what that knows may be older than a pause of this process. Bytes that
        // no one asked for are as bad as an end.
        let looked = recv(&self.stream, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(looked, Err(rustix::io::Errno::WOULDBLOCK))
    }

    /// Sends one request and waits for its answer. Not cancel safe: a dropped call leaves the connection in the middle.
    pub async fn call<Q: Message, A: Message>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &Q,
        within: Duration,
    ) -> Result<A, CallError> {
        let mut body = self.call_raw(key, version, request, within).await?;
        Ok(A::decode(&mut body, version)?)
    }

    /// What the broker says that it has, for those who do not take it from the inter-broker protocol's version.
    pub async fn api_versions(&mut self, within: Duration) -> Result<ApiVersions, CallError> {
        let request = ApiVersionsRequest {
            client_software_name: env!("CARGO_PKG_NAME").into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        let mut version = API_VERSIONS_VERSION;
        let mut body = self.call_raw(ApiKey::ApiVersions, version, &request, within).await?;
        // A broker that does not know this version answers in version 0, whose first field is the error too.
        if body.clone().i16()? == ErrorCode::UnsupportedVersion.wire() {
            version = 0;
            body = self.call_raw(ApiKey::ApiVersions, version, &ApiVersionsRequest::default(), within).await?;
        }
        let answer = ApiVersionsResponse::decode(&mut body, version)?;
        Ok(answer.api_keys.iter().map(|api| (api.api_key, api.min_version..=api.max_version)).collect())
    }

    /// As [`Self::call`], with the answer's body not yet decoded.
    pub async fn call_raw<Q: Message>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &Q,
        within: Duration,
    ) -> Result<Reader, CallError> {
        let exchange = async {
            let sent = self.send(key, version, request).await?;
            self.receive(sent, key, version).await
        };
        timeout(within, exchange).await.map_err(|_| CallError::TimedOut(within))?
    }

    /// As [`Self::call`], but given up when `interrupt` ends before the first byte of the answer is there: then there is
    /// no answer, and the connection is of no use any more.
    pub async fn call_unless<Q: Message, A: Message>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &Q,
        within: Duration,
        interrupt: impl Future<Output = ()>,
    ) -> Result<Option<A>, CallError> {
        let exchange = async {
            let sent = self.send(key, version, request).await?;
            // Not `readable`: after a read that took all it asked for, that is only a guess.
            let mut first = [0];
            tokio::select! {
                biased;
                ready = self.stream.peek(&mut first) => drop(ready?),
                () = interrupt => return Ok(None),
            }
            let mut body = self.receive(sent, key, version).await?;
            Ok(Some(A::decode(&mut body, version)?))
        };
        timeout(within, exchange).await.map_err(|_| CallError::TimedOut(within))?
    }

    /// The correlation id of what was sent.
    async fn send<Q: Message>(&mut self, key: ApiKey, version: i16, request: &Q) -> Result<i32, CallError> {
        let sent = self.next_correlation_id;
        self.next_correlation_id = sent.wrapping_add(1) & i32::MAX;
        let header = RequestHeader::new(key, version, sent, self.client_id.clone());
        let frame = Frame::request(key, &header, request)?;
        self.stream.write_all(&frame.bytes).await?;
        Ok(sent)
    }

    async fn receive(&mut self, sent: i32, key: ApiKey, version: i16) -> Result<Reader, CallError> {
        let mut size = [0; frame::SIZE_LEN];
        self.stream.read_exact(&mut size).await?;
        let len = frame::frame_len(size, MAX_RESPONSE_BYTES)?;
        self.buffer.clear();
        while self.buffer.len() < len {
            let left = len - self.buffer.len();
            // At most twice what has come.
            self.buffer.reserve(left.min(self.buffer.len().max(READ_STEP)));
            if (&mut self.stream).take(left as u64).read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        let mut reader = Reader::new(self.buffer.split().freeze());
        let header = ResponseHeader::decode(&mut reader, key.response_header_version(version))?;
        if header.correlation_id != sent {
            return Err(CallError::Correlation { sent, got: header.correlation_id });
        }
        Ok(reader)
    }
}

async fn open(address: SocketAddr, receive_buffer_bytes: Option<u32>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(address).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::protocol::messages::{UpdateMetadataRequest, UpdateMetadataResponse};

    const SOON: Duration = Duration::from_secs(10);

    /// Answers one request with the bytes that `answer` makes of its correlation id.
    async fn call_against(answer: impl Fn(i32) -> Vec<u8>) -> Result<UpdateMetadataResponse, CallError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let size = stream.read_i32().await.unwrap();
            let mut request = vec![0; size as usize];
            stream.read_exact(&mut request).await.unwrap();
            let mut reader = Reader::new(request.into());
            let header = RequestHeader::decode(&mut reader).unwrap();
            assert_eq!((header.api_key, header.api_version, &*header.client_id), (ApiKey::UpdateMetadata, 8, "1"));
            let request = UpdateMetadataRequest::decode(&mut reader, 8).unwrap();
            assert_eq!(request.controller_epoch, 7);
            stream.write_all(&answer(header.correlation_id)).await.unwrap();
        };
        let client = async {
            let mut broker = BrokerConnection::connect("127.0.0.1", port, "1".into(), SOON).await?;
            let request = UpdateMetadataRequest { controller_epoch: 7, ..Default::default() };
            broker.call(ApiKey::UpdateMetadata, 8, &request, SOON).await
        };
        tokio::join!(server, client).1
    }

    #[tokio::test]
    async fn a_call_is_answered() {
        let response = UpdateMetadataResponse { error_code: 11, ..Default::default() };
        let answer = |id| Frame::response(ApiKey::UpdateMetadata, 8, id, &response).unwrap().bytes.to_vec();
        assert_eq!(call_against(answer).await.unwrap(), response);
    }

    #[tokio::test]
    async fn a_call_that_waits_can_be_interrupted_and_one_that_is_answered_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut broker = BrokerConnection::connect("127.0.0.1", port, "1".into(), SOON).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = UpdateMetadataRequest::default();
        let response = UpdateMetadataResponse { error_code: 11, ..Default::default() };
        let frame = Frame::response(ApiKey::UpdateMetadata, 8, 0, &response).unwrap();
        stream.write_all(&frame.bytes).await.unwrap();
        let never = std::future::pending();
        let answered: Option<UpdateMetadataResponse> =
            broker.call_unless(ApiKey::UpdateMetadata, 8, &request, SOON, never).await.unwrap();
        assert_eq!(answered, Some(response));
        let waiting: Option<UpdateMetadataResponse> =
            broker.call_unless(ApiKey::UpdateMetadata, 8, &request, SOON, async {}).await.unwrap();
        assert_eq!(waiting, None);
    }

    #[tokio::test]
    async fn a_connection_that_the_other_side_closed_is_not_alive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = BrokerConnection::connect("127.0.0.1", port, "1".into(), SOON).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(open.is_alive());
        // Waits for the end, and does not eat it.
        drop(stream.shutdown().await);
        assert_eq!(open.stream.peek(&mut [0]).await.unwrap(), 0);
        assert!(!open.is_alive());
    }

    #[tokio::test]
    async fn a_receive_buffer_is_as_large_as_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let room = async |bytes| {
            let open = BrokerConnection::connect_with("127.0.0.1", port, "1".into(), SOON, bytes).await.unwrap();
            socket2::SockRef::from(&open.stream).recv_buffer_size().unwrap()
        };
        // Linux gives twice what is asked for, for its own book-keeping.
        assert_eq!(room(Some(20_000)).await, 40_000);
        assert!(room(None).await > 40_000);
    }

    #[tokio::test]
    async fn strange_answers_are_errors() {
        let foreign = call_against(|id| {
            let response = UpdateMetadataResponse::default();
            Frame::response(ApiKey::UpdateMetadata, 8, id + 1, &response).unwrap().bytes.to_vec()
        });
        assert!(matches!(foreign.await, Err(CallError::Correlation { .. })));
        assert!(matches!(call_against(|_| vec![0xff; 4]).await, Err(CallError::Frame(_))));
        assert!(matches!(call_against(|_| vec![0, 0, 0, 9, 1]).await, Err(CallError::Io(_))));
        let short = call_against(|id| [&5i32.to_be_bytes()[..], &id.to_be_bytes(), &[0]].concat());
        assert!(matches!(short.await, Err(CallError::Decode(_))));
    }
}
