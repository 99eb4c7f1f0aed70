//! DescribeConfigs, key 32: the configuration of topics, brokers and loggers.
//! Kafka: DescribeConfigsRequest.json, DescribeConfigsResponse.json.

use crate::protocol::schema::message;

message! {
    describe_configs_request::DescribeConfigsRequest, 0..=4, flexible 4..;

    DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource>, 0..;
        include_synonyms: bool, 1..;
        include_documentation: bool, 3..;
    }

    DescribeConfigsResource {
        resource_type: i8, 0..;
        resource_name: Str, 0..;
        configuration_keys: Option<Vec<Str>> = Some(Vec::new()), 0..;
    }
}

message! {
    describe_configs_response::DescribeConfigsResponse, 0..=4, flexible 4..;

    DescribeConfigsResponse {
        throttle_time_ms: i32, 0..;
        results: Vec<DescribeConfigsResult>, 0..;
    }

    DescribeConfigsResult {
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        resource_type: i8, 0..;
        resource_name: Str, 0..;
        configs: Vec<DescribeConfigsResourceResult>, 0..;
    }

    DescribeConfigsResourceResult {
        name: Str, 0..;
        value: Option<Str> = Some(Str::new()), 0..;
        read_only: bool, 0..;
        is_default: bool, 0..=0;
        config_source: i8 = -1, 1.., [ignorable];
        is_sensitive: bool, 0..;
        synonyms: Vec<DescribeConfigsSynonym>, 1.., [ignorable];
        config_type: i8, 3.., [ignorable];
        documentation: Option<Str> = Some(Str::new()), 3.., [ignorable];
    }

    DescribeConfigsSynonym {
        name: Str, 1..;
        value: Option<Str> = Some(Str::new()), 1..;
        source: i8, 1..;
    }
}
