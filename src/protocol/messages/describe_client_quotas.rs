//! DescribeClientQuotas, key 48: the client quotas that match a filter.
//! Kafka: DescribeClientQuotasRequest.json, DescribeClientQuotasResponse.json.

use crate::protocol::schema::message;

message! {
    describe_client_quotas_request::DescribeClientQuotasRequest, 0..=1, flexible 1..;

    DescribeClientQuotasRequest {
        components: Vec<ComponentData>, 0..;
        strict: bool, 0..;
    }

    ComponentData {
        entity_type: Str, 0..;
        match_type: i8, 0..;
        r#match: Option<Str> = Some(Str::new()), 0..;
    }
}

message! {
    describe_client_quotas_response::DescribeClientQuotasResponse, 0..=1, flexible 1..;

    DescribeClientQuotasResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        entries: Option<Vec<EntryData>> = Some(Vec::new()), 0..;
    }

    EntryData {
        entity: Vec<EntityData>, 0..;
        values: Vec<ValueData>, 0..;
    }

    EntityData {
        entity_type: Str, 0..;
        entity_name: Option<Str> = Some(Str::new()), 0..;
    }

    ValueData {
        key: Str, 0..;
        value: f64, 0..;
    }
}
