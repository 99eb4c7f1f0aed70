//! ApiVersions, key 18: the APIs and versions that a broker speaks.
//! Kafka: ApiVersionsRequest.json, ApiVersionsResponse.json.

use crate::protocol::schema::message;

message! {
    api_versions_request::ApiVersionsRequest, 0..=4, flexible 3..;

    ApiVersionsRequest {
        client_software_name: Str, 3.., [ignorable];
        client_software_version: Str, 3.., [ignorable];
    }
}

message! {
    api_versions_response::ApiVersionsResponse, 0..=4, flexible 3..;

    ApiVersionsResponse {
        error_code: i16, 0..;
        api_keys: Vec<ApiVersion>, 0..;
        throttle_time_ms: i32, 1.., [ignorable];
        0 => supported_features: Vec<SupportedFeatureKey>, 3.., [ignorable];
        1 => finalized_features_epoch: i64 = -1, 3.., [ignorable];
        2 => finalized_features: Vec<FinalizedFeatureKey>, 3.., [ignorable];
        3 => zk_migration_ready: bool, 3.., [ignorable];
    }

    ApiVersion {
        api_key: i16, 0..;
        min_version: i16, 0..;
        max_version: i16, 0..;
    }

    SupportedFeatureKey {
        name: Str, 3..;
        min_version: i16, 3..;
        max_version: i16, 3..;
    }

    FinalizedFeatureKey {
        name: Str, 3..;
        max_version_level: i16, 3..;
        min_version_level: i16, 3..;
    }
}
