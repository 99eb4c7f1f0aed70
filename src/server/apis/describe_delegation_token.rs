//! DescribeDelegationToken: refused, as over every connection without authentication. Kafka:
//! `KafkaApis.handleDescribeTokensRequest`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, _: DescribeDelegationTokenRequest) -> Reply {
    let error_code = ErrorCode::DelegationTokenRequestNotAllowed.wire();
    call.reply(&DescribeDelegationTokenResponse { error_code, ..Default::default() })
}
