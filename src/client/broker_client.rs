//! Owns a plain connection to another broker on which one request is under way at a time. Kafka: `NetworkClient` as
//! `ControllerChannelManager`, replica fetchers and controlled shutdown use it: no ApiVersions exchange, versions are
//! those of the inter-broker protocol.
//!
//! Absent on purpose: retries (the caller knows what may be sent twice), TLS and SASL.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::protocol::frame::{self, FrameError};
use crate::protocol::{ApiKey, DecodeError, EncodeError, Frame, Message, Reader, RequestHeader, ResponseHeader, Str};

/// The longest answer that is taken: Kafka's inter-broker clients have no bound, a broker's own requests have this one.
const MAX_RESPONSE_BYTES: usize = 100 << 20;

/// Answers grow by this much as they come, not by what they claim.
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

pub struct BrokerConnection {
    stream: TcpStream,
    client_id: Str,
    next_correlation_id: i32,
}

impl BrokerConnection {
    /// The name is resolved at every connection.
    pub async fn connect(host: &str, port: u16, client_id: Str, within: Duration) -> Result<Self, CallError> {
        let connecting = TcpStream::connect((host, port));
        let stream = timeout(within, connecting).await.map_err(|_| CallError::TimedOut(within))??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, client_id, next_correlation_id: 0 })
    }

    /// Sends one request and waits for its answer. Not cancel safe: a dropped call leaves the connection in the middle.
    pub async fn call<Q: Message, A: Message>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &Q,
        within: Duration,
    ) -> Result<A, CallError> {
        timeout(within, self.exchange(key, version, request)).await.map_err(|_| CallError::TimedOut(within))?
    }

    async fn exchange<Q: Message, A: Message>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<A, CallError> {
        let sent = self.next_correlation_id;
        self.next_correlation_id = sent.wrapping_add(1) & i32::MAX;
        let header = RequestHeader::new(key, version, sent, self.client_id.clone());
        let frame = Frame::request(key, &header, request)?;
        self.stream.write_all(&frame.bytes).await?;

        let mut size = [0; frame::SIZE_LEN];
        self.stream.read_exact(&mut size).await?;
        let mut left = frame::frame_len(size, MAX_RESPONSE_BYTES)?;
        let mut body = BytesMut::new();
        while left > 0 {
            let step = left.min(READ_STEP);
            let at = body.len();
            body.resize(at + step, 0);
            self.stream.read_exact(&mut body[at..]).await?;
            left -= step;
        }
        let mut reader = Reader::new(body.freeze());
        let header = ResponseHeader::decode(&mut reader, key.response_header_version(version))?;
        if header.correlation_id != sent {
            return Err(CallError::Correlation { sent, got: header.correlation_id });
        }
        Ok(A::decode(&mut reader, version)?)
    }
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
