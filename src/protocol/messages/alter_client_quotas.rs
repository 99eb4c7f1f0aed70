//! AlterClientQuotas, key 49: changes client quotas.
//! Kafka: AlterClientQuotasRequest.json, AlterClientQuotasResponse.json.

use crate::protocol::schema::message;

message! {
    alter_client_quotas_request::AlterClientQuotasRequest, 0..=1, flexible 1..;

    AlterClientQuotasRequest {
        entries: Vec<EntryData>, 0..;
        validate_only: bool, 0..;
    }

    EntryData {
        entity: Vec<EntityData>, 0..;
        ops: Vec<OpData>, 0..;
    }

    EntityData {
        entity_type: Str, 0..;
        entity_name: Option<Str> = Some(Str::new()), 0..;
    }

    OpData {
        key: Str, 0..;
        value: f64, 0..;
        remove: bool, 0..;
    }
}

message! {
    alter_client_quotas_response::AlterClientQuotasResponse, 0..=1, flexible 1..;

    AlterClientQuotasResponse {
        throttle_time_ms: i32, 0..;
        entries: Vec<EntryData>, 0..;
    }

    EntryData {
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        entity: Vec<EntityData>, 0..;
    }

    EntityData {
        entity_type: Str, 0..;
        entity_name: Option<Str> = Some(Str::new()), 0..;
    }
}
