//! DescribeClientQuotas: there are none. Kafka: `ZkAdminManager.describeClientQuotas`. Absent so far: quotas.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::describe_client_quotas_request::ComponentData;
use crate::protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeSet;

/// `DescribeClientQuotasRequest`: how a component of a filter matches.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, request: DescribeClientQuotasRequest) -> Reply {
    call.reply(&match check(&request.components, request.strict) {
        Ok(()) => DescribeClientQuotasResponse { entries: Some(Vec::new()), ..Default::default() },
        Err((code, message)) => DescribeClientQuotasResponse {
            error_code: code.wire(),
            error_message: message.map(Into::into),
            entries: None,
            ..Default::default()
        },
    })
}

/// Kafka's requirements for a filter.
fn check(components: &[ComponentData], strict: bool) -> Result<(), (ErrorCode, Option<String>)> {
    let is_readable = |component: &ComponentData| match component.match_type {
        EXACT => component.r#match.is_some(),
        DEFAULT | SPECIFIED => true,
        _ => false,
    };
    if !components.iter().all(is_readable) {
        // An exception that Kafka has no code for.
        return Err((ErrorCode::UnknownServerError, None));
    }
    let refuse = |code: ErrorCode, message: String| Err((code, Some(message)));
    let mut types = BTreeSet::new();
    for component in components {
        let name = match &*component.entity_type {
            "user" => "user",
            "client-id" => "client",
            "ip" => "ip",
            "" => {
                return refuse(ErrorCode::InvalidRequest, "Unexpected empty filter component entity type".to_owned());
            }
            other => {
                return refuse(ErrorCode::UnsupportedVersion, format!("Custom entity type '{other}' not supported"));
            }
        };
        if !types.insert(name) {
            return refuse(ErrorCode::InvalidRequest, format!("Duplicate {name} filter component entity type"));
        }
    }
    if types.contains("ip") && types.len() > 1 {
        let text = "Invalid entity filter component combination, IP filter component should not be used with user or clientId filter component.";
        return refuse(ErrorCode::InvalidRequest, text.to_owned());
    }
    if reads_impossible_path(components, strict) {
        return Err((ErrorCode::UnknownServerError, None));
    }
    Ok(())
}

/// Whether Kafka would read one entity by its name, at a path that ZooKeeper does not allow. Every other filter lists
/// the entities.
fn reads_impossible_path(components: &[ComponentData], strict: bool) -> bool {
    let by_name = components.iter().all(|component| component.match_type != SPECIFIED)
        && (strict || components.len() == 2 || components.iter().any(|component| component.entity_type == "ip"));
    let is_impossible = |component: &ComponentData| {
        component.match_type == EXACT && matches!(component.r#match.as_deref(), Some("" | "." | ".."))
    };
    by_name && components.iter().any(is_impossible)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(entity_type: &str, match_type: i8, name: &str) -> ComponentData {
        let (entity_type, name) = (entity_type.into(), Some(name.into()));
        ComponentData { entity_type, match_type, r#match: name, ..Default::default() }
    }

    #[test]
    fn an_empty_name_fails_where_its_znode_would_be_read() {
        let failed = Err((ErrorCode::UnknownServerError, None));
        let user = component("user", EXACT, "");
        assert_eq!(check(std::slice::from_ref(&user), true), failed);
        assert_eq!(check(std::slice::from_ref(&user), false), Ok(()));
        assert_eq!(check(&[user.clone(), component("client-id", EXACT, "x")], false), failed);
        assert_eq!(check(&[user, component("client-id", SPECIFIED, "")], true), Ok(()));
        assert_eq!(check(&[component("ip", EXACT, "")], false), failed);
        assert_eq!(check(&[component("user", DEFAULT, "")], true), Ok(()));
    }
}
