//! IncrementalAlterConfigs, key 44: changes single configuration keys of resources.
//! Kafka: IncrementalAlterConfigsRequest.json, IncrementalAlterConfigsResponse.json.

use crate::protocol::schema::message;

message! {
    incremental_alter_configs_request::IncrementalAlterConfigsRequest, 0..=1, flexible 1..;

    IncrementalAlterConfigsRequest {
        resources: Vec<AlterConfigsResource>, 0..;
        validate_only: bool, 0..;
    }

    AlterConfigsResource {
        resource_type: i8, 0..;
        resource_name: Str, 0..;
        configs: Vec<AlterableConfig>, 0..;
    }

    AlterableConfig {
        name: Str, 0..;
        config_operation: i8, 0..;
        value: Option<Str> = Some(Str::new()), 0..;
    }
}

message! {
    incremental_alter_configs_response::IncrementalAlterConfigsResponse, 0..=1, flexible 1..;

    IncrementalAlterConfigsResponse {
        throttle_time_ms: i32, 0..;
        responses: Vec<AlterConfigsResourceResponse>, 0..;
    }

    AlterConfigsResourceResponse {
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        resource_type: i8, 0..;
        resource_name: Str, 0..;
    }
}
