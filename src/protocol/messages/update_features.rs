//! UpdateFeatures, key 57: finalizes feature levels of the cluster.
//! Kafka: UpdateFeaturesRequest.json, UpdateFeaturesResponse.json.

use crate::protocol::schema::message;

message! {
    update_features_request::UpdateFeaturesRequest, 0..=1, flexible 0..;

    UpdateFeaturesRequest {
        timeout_ms: i32 = 60_000, 0..;
        feature_updates: Vec<FeatureUpdateKey>, 0..;
        validate_only: bool, 1..;
    }

    FeatureUpdateKey {
        feature: Str, 0..;
        max_version_level: i16, 0..;
        allow_downgrade: bool, 0..=0;
        upgrade_type: i8 = 1, 1..;
    }
}

message! {
    update_features_response::UpdateFeaturesResponse, 0..=1, flexible 0..;

    UpdateFeaturesResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        results: Vec<UpdatableFeatureResult>, 0..;
    }

    UpdatableFeatureResult {
        feature: Str, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
    }
}
