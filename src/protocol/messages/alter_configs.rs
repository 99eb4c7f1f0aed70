//! AlterConfigs, key 33: replaces the configuration of resources as a whole.
//! Kafka: AlterConfigsRequest.json, AlterConfigsResponse.json.

use crate::protocol::schema::message;

message! {
    alter_configs_request::AlterConfigsRequest, 0..=2, flexible 2..;

    AlterConfigsRequest {
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
        value: Option<Str> = Some(Str::new()), 0..;
    }
}

message! {
    alter_configs_response::AlterConfigsResponse, 0..=2, flexible 2..;

    AlterConfigsResponse {
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
