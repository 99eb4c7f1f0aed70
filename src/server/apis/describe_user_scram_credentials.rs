//! DescribeUserScramCredentials: there are none. Kafka: `ZkAdminManager.describeUserScramCredentials`. Absent so far: SCRAM.

use super::repeated;
use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use crate::protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeSet;

pub(in crate::server) async fn handle(
    _: &Broker,
    call: &mut Call,
    request: DescribeUserScramCredentialsRequest,
) -> Reply {
    let users = request.users.unwrap_or_default();
    let repeated = repeated(users.iter().map(|user| &user.name));
    let results = users.iter().map(|user| &user.name).collect::<BTreeSet<_>>().into_iter().map(|user| {
        let (code, message) = if user.is_empty() {
            (ErrorCode::ResourceNotFound, "Username must not be empty".to_owned())
        } else if repeated.contains(user) {
            let text = "Cannot describe SCRAM credentials for the same user twice in a single request";
            (ErrorCode::DuplicateResource, format!("{text}: {user}"))
        } else {
            let text = "Attempt to describe a user credential that does not exist";
            (ErrorCode::ResourceNotFound, format!("{text}: {user}"))
        };
        DescribeUserScramCredentialsResult {
            user: user.clone(),
            error_code: code.wire(),
            error_message: Some(message.into()),
            ..Default::default()
        }
    });
    call.reply(&DescribeUserScramCredentialsResponse { results: results.collect(), ..Default::default() })
}
