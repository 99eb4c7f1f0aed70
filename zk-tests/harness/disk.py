"""Reads the files of a log directory: record batches by their headers, checkpoints, meta.properties."""

import dataclasses
import struct

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
_HEADER = struct.Struct(">qiibIhiqqqhii")


@dataclasses.dataclass(frozen=True)
class Batch:
    base_offset: int
    leader_epoch: int
    magic: int
    codec: str
    last_offset: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int


def batches(partition_directory):
    """The header of every batch of a partition, over all its segments."""
    for segment in sorted(partition_directory.glob("*.log")):
        with open(segment, "rb") as f:
            while len(head := f.read(_HEADER.size)) == _HEADER.size:
                (base, length, epoch, magic, _crc, attributes, last_delta, _first_timestamp, max_timestamp,
                 producer, producer_epoch, sequence, _count) = _HEADER.unpack(head)  # fmt: skip
                if length <= 0:
                    break
                yield Batch(base, epoch, magic, CODECS[attributes & 7], base + last_delta, max_timestamp, producer,
                            producer_epoch, sequence)  # fmt: skip
                f.seek(length + 12 - _HEADER.size, 1)
