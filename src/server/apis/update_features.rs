//! UpdateFeatures, on the controller. Brokers of 3.9 in ZooKeeper mode support no feature, so every update is refused, each
//! with its reason. Kafka: `KafkaApis.handleUpdateFeatures`, `KafkaController.validateFeatureUpdate`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::update_features_request::FeatureUpdateKey;
use crate::protocol::messages::update_features_response::UpdatableFeatureResult;
use crate::protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeMap;

/// Kafka: `FeatureUpdate.UpgradeType`.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: UpdateFeaturesRequest) -> Reply {
    if !broker.controller.is_active() {
        let code = ErrorCode::NotController;
        return call.reply(&UpdateFeaturesResponse {
            error_code: code.wire(),
            error_message: Some(code.message().into()),
            ..Default::default()
        });
    }
    // A feature that is named twice is answered once, for the first.
    let updates: BTreeMap<_, _> =
        request.feature_updates.iter().rev().map(|update| (&update.feature, update)).collect();
    let results = updates.into_values().map(|update| UpdatableFeatureResult {
        feature: update.feature.clone(),
        error_code: ErrorCode::InvalidRequest.wire(),
        error_message: Some(refusal(update, call.version()).into()),
        ..Default::default()
    });
    call.reply(&UpdateFeaturesResponse { error_message: None, results: results.collect(), ..Default::default() })
}

fn refusal(update: &FeatureUpdateKey, version: i16) -> String {
    let kind = match version {
        0 if update.allow_downgrade => SAFE_DOWNGRADE,
        0 => UPGRADE,
        _ => update.upgrade_type,
    };
    let level = update.max_version_level;
    if update.feature.is_empty() {
        "Feature name can not be empty.".to_owned()
    } else if !matches!(kind, UPGRADE | SAFE_DOWNGRADE | UNSAFE_DOWNGRADE) {
        "Received unknown upgrade type.".to_owned()
    } else if level < 1 && kind != UPGRADE {
        "Can not delete non-existing finalized feature.".to_owned()
    } else if level < 1 {
        format!(
            "Can not provide versionLevel: {level} less than 1 without setting the SAFE downgradeType in the request."
        )
    } else {
        "Could not apply finalized feature update because the provided feature is not supported.".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_update_is_refused_for_kafkas_reason() {
        let update = |feature: &str, level, upgrade_type| FeatureUpdateKey {
            feature: feature.into(),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        };
        for (update, expected) in [
            (update("", 1, 1), "Feature name can not be empty."),
            (update("f", 1, 0), "Received unknown upgrade type."),
            (update("f", 0, 2), "Can not delete non-existing finalized feature."),
            (
                update("f", 1, 1),
                "Could not apply finalized feature update because the provided feature is not supported.",
            ),
        ] {
            assert_eq!(refusal(&update, 1), expected);
        }
        let old = FeatureUpdateKey { allow_downgrade: true, ..update("f", 0, 1) };
        assert_eq!(refusal(&old, 0), "Can not delete non-existing finalized feature.");
    }
}
