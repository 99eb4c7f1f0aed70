//! ApiVersions: what this broker serves. Kafka: `KafkaApis.handleApiVersionsRequest`, KIP-35, KIP-511.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::ApiKey;
use crate::protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, api_versions_response::ApiVersion};
use crate::server::context::Broker;
use crate::server::dispatch::{Call, SERVED};
use std::sync::atomic::Ordering;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: ApiVersionsRequest) -> Reply {
    let valid = call.version() < 3
        || (is_valid_name(&request.client_software_name) && is_valid_name(&request.client_software_version));
    let mut answer = ApiVersionsResponse::default();
    if valid {
        answer.api_keys = SERVED.iter().copied().map(advertised).collect();
        // No features are finalized in ZooKeeper mode, but the empty set of them has an epoch.
        answer.finalized_features_epoch = broker.features_epoch.load(Ordering::Relaxed);
    } else {
        answer.error_code = ErrorCode::InvalidRequest.wire();
    }
    call.reply(&answer)
}

/// The client is newer than we are: it learns in version 0 which versions of ApiVersions it may use.
pub(in crate::server) fn unsupported(call: &Call) -> Reply {
    let answer = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.wire(),
        api_keys: vec![advertised(ApiKey::ApiVersions)],
        ..Default::default()
    };
    call.reply_in_version(&answer, 0, &[])
}

fn advertised(api: ApiKey) -> ApiVersion {
    ApiVersion {
        api_key: api.wire(),
        min_version: *api.versions().start(),
        max_version: *api.versions().end(),
        ..Default::default()
    }
}

/// `ApiVersionsRequest.isValid`: letters and digits, with dashes and dots in between.
fn is_valid_name(name: &str) -> bool {
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_held_to_kafkas_pattern() {
        for good in ["apache-kafka-java", "3.9.1", "a", "A-b.C"] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "é", "a_b"] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }

    #[test]
    fn the_served_list_ascends_without_gaps_in_the_table() {
        assert!(SERVED.windows(2).all(|pair| pair[0].wire() < pair[1].wire()));
    }
}
