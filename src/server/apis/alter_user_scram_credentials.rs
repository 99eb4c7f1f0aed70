//! AlterUserScramCredentials: refused, user by user, for this version has no SCRAM. Kafka:
//! `ZkAdminManager.alterUserScramCredentials`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use crate::protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeSet;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, request: AlterUserScramCredentialsRequest) -> Reply {
    let deleted = request.deletions.into_iter().map(|deletion| deletion.name);
    let users: BTreeSet<_> = deleted.chain(request.upsertions.into_iter().map(|upsertion| upsertion.name)).collect();
    let results = users.into_iter().map(|user| AlterUserScramCredentialsResult {
        user,
        error_code: ErrorCode::SecurityDisabled.wire(),
        error_message: Some("SCRAM credentials are not served by this version".into()),
        ..Default::default()
    });
    call.reply(&AlterUserScramCredentialsResponse { results: results.collect(), ..Default::default() })
}
