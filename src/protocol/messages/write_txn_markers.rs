//! WriteTxnMarkers, key 27: the transaction coordinator has commit and abort markers written by partition leaders.
//! Kafka: WriteTxnMarkersRequest.json, WriteTxnMarkersResponse.json.

use crate::protocol::schema::message;

message! {
    write_txn_markers_request::WriteTxnMarkersRequest, 0..=1, flexible 1..;

    WriteTxnMarkersRequest {
        markers: Vec<WritableTxnMarker>, 0..;
    }

    WritableTxnMarker {
        producer_id: i64, 0..;
        producer_epoch: i16, 0..;
        transaction_result: bool, 0..;
        topics: Vec<WritableTxnMarkerTopic>, 0..;
        coordinator_epoch: i32, 0..;
    }

    WritableTxnMarkerTopic {
        name: Str, 0..;
        partition_indexes: Vec<i32>, 0..;
    }
}

message! {
    write_txn_markers_response::WriteTxnMarkersResponse, 0..=1, flexible 1..;

    WriteTxnMarkersResponse {
        markers: Vec<WritableTxnMarkerResult>, 0..;
    }

    WritableTxnMarkerResult {
        producer_id: i64, 0..;
        topics: Vec<WritableTxnMarkerTopicResult>, 0..;
    }

    WritableTxnMarkerTopicResult {
        name: Str, 0..;
        partitions: Vec<WritableTxnMarkerPartitionResult>, 0..;
    }

    WritableTxnMarkerPartitionResult {
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
