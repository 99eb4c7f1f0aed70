//! Owns the codecs of record data and their framing. Kafka: `CompressionType`, `org.apache.kafka.common.compress` and
//! the libraries under it.
//!
//! ```text
//! gzip    RFC 1952 members, one after the other
//! snappy  82 'SNAPPY' 00 | version i32 = 1 | compatible i32 = 1 | blocks: length i32, raw snappy  (big endian)
//!         or one raw snappy block without any frame, as some clients write it
//! lz4     04 22 4d 18 | FLG | BD | HC | blocks: length u32 (top bit: stored), bytes | 0 u32       (little endian)
//!         with magic 0 the header checksum HC is wrong on purpose: it covers the magic too
//! zstd    frames without a dictionary; not before magic 2
//! ```
//!
//! Compressed bytes come from strangers. They are only ever read as a stream: what a length field, a block size or a
//! window claims is held against a limit and, where the format has a largest ratio, against the bytes that are there.

use super::RecordError;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{self, BufRead, BufReader, Read, Write};
use twox_hash::XxHash32;
use zstd::stream::read::Decoder as ZstdDecoder;
use zstd::stream::write::Encoder as ZstdEncoder;

/// How the records of a batch are compressed. The discriminant is the wire id: bits 0-2 of the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// `None` for the ids 5 to 7, which no version has used.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| *codec as u8 == id)
    }

    /// The name in `compression.type` and in tool output.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// A codec and how hard it tries. Kafka: the `compression.type` and `compression.*.level` keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    /// 1 to 9, or -1 for zlib's own choice.
    Gzip(i32),
    Snappy,
    /// 1 to 17; 9 is the fast compressor.
    Lz4(i32),
    /// -131072 to 22.
    Zstd(i32),
}

impl Compression {
    /// The codec at Kafka's default level.
    pub fn of(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip(-1),
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4(LZ4_DEFAULT_LEVEL),
            Codec::Zstd => Self::Zstd(zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }

    pub fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip(_) => Codec::Gzip,
            Self::Snappy => Codec::Snappy,
            Self::Lz4(_) => Codec::Lz4,
            Self::Zstd(_) => Codec::Zstd,
        }
    }
}

const LZ4_DEFAULT_LEVEL: i32 = 9;

/// Bytes between a decompressor and its reader, for the codecs that do not hand out blocks of their own.
const STREAM_BUFFER_BYTES: usize = 16 * 1024;

/// Decompressed bytes of one batch, read as they are needed. Memory is bounded by the codec's largest block or window.
pub enum Decompressor<'a> {
    Plain(&'a [u8]),
    Gzip(Box<BufReader<GzipMembers<'a>>>),
    Snappy(SnappyReader<'a>),
    Lz4(Lz4Reader<'a>),
    Zstd(Box<BufReader<ZstdDecoder<'static, &'a [u8]>>>),
}

impl<'a> Decompressor<'a> {
    /// `magic` of the batch decides which lz4 header checksum is right.
    pub fn new(codec: Codec, magic: i8, bytes: &'a [u8]) -> io::Result<Self> {
        Ok(match codec {
            Codec::None => Self::Plain(bytes),
            Codec::Gzip => {
                Self::Gzip(Box::new(BufReader::with_capacity(STREAM_BUFFER_BYTES, GzipMembers::new(bytes)?)))
            }
            Codec::Snappy => Self::Snappy(SnappyReader::new(bytes)?),
            Codec::Lz4 => Self::Lz4(Lz4Reader::new(bytes, magic == 0)?),
            // The library takes no bytes at all for a torn frame, Kafka for an empty stream.
            Codec::Zstd if bytes.is_empty() => Self::Plain(bytes),
            Codec::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(bytes)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Self::Zstd(Box::new(BufReader::with_capacity(STREAM_BUFFER_BYTES, decoder)))
            }
        })
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let len = ready.len().min(buf.len());
        buf[..len].copy_from_slice(&ready[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Decompressor<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(bytes) => Ok(bytes),
            Self::Gzip(reader) => reader.fill_buf(),
            Self::Snappy(reader) => reader.fill(),
            Self::Lz4(reader) => reader.fill(),
            Self::Zstd(reader) => reader.fill_buf(),
        }
    }

    fn consume(&mut self, len: usize) {
        match self {
            Self::Plain(bytes) => *bytes = &bytes[len..],
            Self::Gzip(reader) => reader.consume(len),
            Self::Snappy(reader) => reader.at += len,
            Self::Lz4(reader) => reader.at += len,
            Self::Zstd(reader) => reader.consume(len),
        }
    }
}

/// Kafka's error for a stream that cannot be decompressed, which has no code of its own.
pub(crate) fn unreadable(error: &io::Error) -> RecordError {
    RecordError::Unclassified(format!("Failed to decompress record stream: {error}"))
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Bytes of the smallest gzip member: a header and a trailer.
const GZIP_MEMBER_MIN: usize = 18;

/// The members of a gzip stream, read as one. Kafka: `GZIPInputStream`.
pub struct GzipMembers<'a> {
    member: GzDecoder<&'a [u8]>,
    ended: bool,
}

impl<'a> GzipMembers<'a> {
    fn new(bytes: &'a [u8]) -> io::Result<Self> {
        let member = GzDecoder::new(bytes);
        if member.header().is_none() {
            return Err(damaged("Not in GZIP format"));
        }
        Ok(Self { member, ended: false })
    }
}

impl Read for GzipMembers<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            let len = self.member.read(buf)?;
            if len > 0 {
                return Ok(len);
            }
            // What follows the last member and is no member is passed over, as Java passes it over.
            let rest: &[u8] = self.member.get_ref();
            let next = GzDecoder::new(rest);
            if rest.len() <= GZIP_MEMBER_MIN || next.header().is_none() {
                self.ended = true;
            } else {
                self.member = next;
            }
        }
        Ok(0)
    }
}

const SNAPPY_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const SNAPPY_HEADER_LEN: usize = 16;
const SNAPPY_VERSION: u32 = 1;
/// Bytes before compression of the blocks that we write.
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;
/// Raw snappy yields at most 64 bytes from 3: a larger claim is a lie.
const SNAPPY_RATIO_MAX: usize = 22;
/// Largest block that is unpacked at once. Java clients write 32 KiB; a block without a frame is a whole batch.
const SNAPPY_BLOCK_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Reads framed and bare snappy. Kafka: snappy-java's `SnappyInputStream`.
pub struct SnappyReader<'a> {
    input: &'a [u8],
    block: Vec<u8>,
    at: usize,
}

impl<'a> SnappyReader<'a> {
    fn new(input: &'a [u8]) -> io::Result<Self> {
        let mut reader = Self { input, block: Vec::new(), at: 0 };
        if input.is_empty() {
            return Err(damaged("Cannot decompress empty stream"));
        }
        if input.len() < SNAPPY_HEADER_LEN || !input.starts_with(&SNAPPY_MAGIC) {
            reader.input = &[];
            reader.unpack(input)?;
        } else {
            reader.header()?;
        }
        Ok(reader)
    }

    fn header(&mut self) -> io::Result<()> {
        let Some((header, rest)) = self.input.split_first_chunk::<SNAPPY_HEADER_LEN>() else {
            return Err(damaged("Insufficient header size in a concatenated block"));
        };
        let version = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        if !header.starts_with(&SNAPPY_MAGIC) || (version as i32) < SNAPPY_VERSION as i32 {
            return Err(damaged("Incompatible snappy version"));
        }
        self.input = rest;
        Ok(())
    }

    fn fill(&mut self) -> io::Result<&[u8]> {
        while self.at == self.block.len() {
            // Fewer than four bytes end the stream.
            let Some((length, rest)) = self.input.split_first_chunk::<4>() else {
                return Ok(&[]);
            };
            if SNAPPY_MAGIC.starts_with(length) {
                // Streams may be put together.
                self.header()?;
                continue;
            }
            let Some((block, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                return Err(damaged("failed to read chunk"));
            };
            self.input = rest;
            self.unpack(block)?;
        }
        Ok(&self.block[self.at..])
    }

    fn unpack(&mut self, block: &[u8]) -> io::Result<()> {
        let len = snap::raw::decompress_len(block)?;
        if len > SNAPPY_BLOCK_BYTES_MAX || len > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(damaged("snappy block claims more bytes than it can hold"));
        }
        self.block.resize(len, 0);
        self.at = 0;
        let unpacked = snap::raw::Decoder::new().decompress(block, &mut self.block)?;
        self.block.truncate(unpacked);
        Ok(())
    }
}

const LZ4_MAGIC: u32 = 0x184d_2204;
/// Version 1, independent blocks, no checksums, no content size.
const LZ4_FLG: u8 = 0x60;
const LZ4_FLG_CONTENT_CHECKSUM: u8 = 0x04;
const LZ4_FLG_CONTENT_SIZE: u8 = 0x08;
const LZ4_FLG_BLOCK_CHECKSUM: u8 = 0x10;
const LZ4_FLG_INDEPENDENT: u8 = 0x20;
const LZ4_FLG_VERSION: u8 = 0xc0;
const LZ4_FLG_RESERVED: u8 = 0x03;
/// 64 KiB blocks.
const LZ4_BD: u8 = 0x40;
const LZ4_BLOCK_BYTES: usize = 64 * 1024;
const LZ4_STORED: u32 = 0x8000_0000;
/// An lz4 block yields at most 255 bytes from one.
const LZ4_RATIO_MAX: usize = 255;

/// Reads the frames that Kafka reads. Kafka: `Lz4BlockInputStream`. Neither dependent blocks nor dictionaries.
pub struct Lz4Reader<'a> {
    input: &'a [u8],
    block_bytes_max: usize,
    block_checksum: bool,
    content_checksum: bool,
    /// Some while a block that was not compressed is handed out.
    stored: Option<&'a [u8]>,
    unpacked: Vec<u8>,
    unpacked_len: usize,
    at: usize,
    ended: bool,
}

impl<'a> Lz4Reader<'a> {
    fn new(input: &'a [u8], ignore_header_checksum: bool) -> io::Result<Self> {
        let mut rest = input;
        if lz4_u32(&mut rest)? != LZ4_MAGIC {
            return Err(damaged("Stream unsupported (invalid magic bytes)"));
        }
        let descriptor = rest;
        let [flg, bd] = *lz4_take::<2>(&mut rest)?;
        if flg & LZ4_FLG_RESERVED != 0 || bd & 0x8f != 0 {
            return Err(damaged("Reserved bits must be 0"));
        }
        if flg & LZ4_FLG_INDEPENDENT == 0 {
            return Err(damaged("Dependent block stream is unsupported"));
        }
        if flg & LZ4_FLG_VERSION != LZ4_FLG & LZ4_FLG_VERSION {
            return Err(damaged("Frame version is unsupported"));
        }
        if bd >> 4 < 4 {
            return Err(damaged("Block size value must be between 4 and 7"));
        }
        if flg & LZ4_FLG_CONTENT_SIZE != 0 {
            lz4_take::<8>(&mut rest)?;
        }
        let covered = &descriptor[..descriptor.len() - rest.len()];
        let [checksum] = *lz4_take::<1>(&mut rest)?;
        if !ignore_header_checksum && checksum != lz4_header_checksum(covered) {
            return Err(damaged("Stream frame descriptor corrupted"));
        }
        Ok(Self {
            input: rest,
            block_bytes_max: 1 << (2 * (bd >> 4) + 8),
            block_checksum: flg & LZ4_FLG_BLOCK_CHECKSUM != 0,
            content_checksum: flg & LZ4_FLG_CONTENT_CHECKSUM != 0,
            stored: None,
            unpacked: Vec::new(),
            unpacked_len: 0,
            at: 0,
            ended: false,
        })
    }

    fn block(&self) -> &[u8] {
        self.stored.unwrap_or(&self.unpacked[..self.unpacked_len])
    }

    fn fill(&mut self) -> io::Result<&[u8]> {
        while !self.ended && self.at == self.block().len() {
            self.next_block()?;
        }
        Ok(&self.block()[self.at..])
    }

    fn next_block(&mut self) -> io::Result<()> {
        let length = lz4_u32(&mut self.input)?;
        let (stored, length) = (length & LZ4_STORED != 0, (length & !LZ4_STORED) as usize);
        if length == 0 {
            if self.content_checksum {
                // Kafka does not look at it either.
                lz4_u32(&mut self.input)?;
            }
            self.ended = true;
            return Ok(());
        }
        if length > self.block_bytes_max {
            return Err(damaged("Block size exceeded the frame's maximum"));
        }
        let (block, rest) = self.input.split_at_checked(length).ok_or_else(lz4_short)?;
        self.input = rest;
        self.at = 0;
        if stored {
            self.stored = Some(block);
        } else {
            self.stored = None;
            let room = self.block_bytes_max.min(length.saturating_mul(LZ4_RATIO_MAX));
            if self.unpacked.len() < room {
                self.unpacked.resize(room, 0);
            }
            self.unpacked_len = lz4_flex::block::decompress_into(block, &mut self.unpacked[..room])
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        if self.block_checksum && lz4_u32(&mut self.input)? != XxHash32::oneshot(0, block) {
            return Err(damaged("Block checksum mismatch"));
        }
        Ok(())
    }
}

fn lz4_header_checksum(covered: &[u8]) -> u8 {
    (XxHash32::oneshot(0, covered) >> 8) as u8
}

fn lz4_short() -> io::Error {
    damaged("Stream ended prematurely")
}

fn lz4_take<'a, const N: usize>(input: &mut &'a [u8]) -> io::Result<&'a [u8; N]> {
    let (taken, rest) = input.split_first_chunk().ok_or_else(lz4_short)?;
    *input = rest;
    Ok(taken)
}

fn lz4_u32(input: &mut &[u8]) -> io::Result<u32> {
    lz4_take(input).map(|bytes| u32::from_le_bytes(*bytes))
}

/// The library's own limit, which is Kafka's too: 128 MiB, what level 22 writes. The window is touched only as far as
/// bytes come out of the stream.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Compresses what is written onto the end of a buffer, framed as Kafka's clients frame it.
pub(crate) enum Compressor {
    Plain(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Snappy(Box<SnappyWriter>),
    Lz4(Box<Lz4Writer>),
    Zstd(Box<ZstdEncoder<'static, Vec<u8>>>),
}

impl Compressor {
    /// Appends to `out`. With magic 0 the lz4 header checksum is the wrong one that old clients expect.
    pub(crate) fn new(compression: Compression, magic: i8, out: Vec<u8>) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(out),
            Compression::Gzip(level) => {
                let level =
                    u32::try_from(level).map_or_else(|_| flate2::Compression::default(), flate2::Compression::new);
                // 255 is "unknown", which is what Java writes for the operating system.
                Self::Gzip(Box::new(flate2::GzBuilder::new().operating_system(255).write(out, level)))
            }
            Compression::Snappy => Self::Snappy(Box::new(SnappyWriter::new(out))),
            Compression::Lz4(_) => Self::Lz4(Box::new(Lz4Writer::new(out, magic == 0))),
            Compression::Zstd(level) => Self::Zstd(Box::new(ZstdEncoder::new(out, level)?)),
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.extend_from_slice(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes)?,
            Self::Snappy(writer) => writer.write(bytes)?,
            Self::Lz4(writer) => writer.write(bytes)?,
            Self::Zstd(encoder) => encoder.write_all(bytes)?,
        }
        Ok(())
    }

    /// Bytes in the buffer so far; what the codec still holds back is not counted.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain(out) => out.len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Snappy(writer) => writer.out.len(),
            Self::Lz4(writer) => writer.out.len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    /// Ends the stream and gives the buffer back.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Snappy(mut writer) => {
                writer.write_block()?;
                Ok(writer.out)
            }
            Self::Lz4(mut writer) => {
                writer.write_block()?;
                writer.out.extend_from_slice(&0u32.to_le_bytes());
                Ok(writer.out)
            }
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// Kafka: snappy-java's `SnappyOutputStream`.
pub(crate) struct SnappyWriter {
    out: Vec<u8>,
    block: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl SnappyWriter {
    fn new(mut out: Vec<u8>) -> Self {
        out.extend_from_slice(&SNAPPY_MAGIC);
        out.extend_from_slice(&SNAPPY_VERSION.to_be_bytes());
        out.extend_from_slice(&SNAPPY_VERSION.to_be_bytes());
        Self { out, block: Vec::with_capacity(SNAPPY_BLOCK_BYTES), encoder: snap::raw::Encoder::new() }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.block.len() == SNAPPY_BLOCK_BYTES {
                self.write_block()?;
            }
            bytes = fill_block(&mut self.block, SNAPPY_BLOCK_BYTES, bytes);
        }
        Ok(())
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let start = self.out.len();
        self.out.resize(start + 4 + snap::raw::max_compress_len(self.block.len()), 0);
        let len = self.encoder.compress(&self.block, &mut self.out[start + 4..])?;
        self.out[start..start + 4].copy_from_slice(&(len as u32).to_be_bytes());
        self.out.truncate(start + 4 + len);
        self.block.clear();
        Ok(())
    }
}

/// Kafka: `Lz4BlockOutputStream`.
pub(crate) struct Lz4Writer {
    out: Vec<u8>,
    block: Vec<u8>,
}

impl Lz4Writer {
    fn new(mut out: Vec<u8>, wrong_header_checksum: bool) -> Self {
        let start = out.len();
        out.extend_from_slice(&LZ4_MAGIC.to_le_bytes());
        out.extend_from_slice(&[LZ4_FLG, LZ4_BD]);
        let covered = if wrong_header_checksum { &out[start..] } else { &out[start + 4..] };
        let checksum = lz4_header_checksum(covered);
        out.push(checksum);
        Self { out, block: Vec::with_capacity(LZ4_BLOCK_BYTES) }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.block.len() == LZ4_BLOCK_BYTES {
                self.write_block()?;
            }
            bytes = fill_block(&mut self.block, LZ4_BLOCK_BYTES, bytes);
        }
        Ok(())
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let start = self.out.len();
        self.out.resize(start + 4 + lz4_flex::block::get_maximum_output_size(self.block.len()), 0);
        let len = lz4_flex::block::compress_into(&self.block, &mut self.out[start + 4..]).map_err(io::Error::other)?;
        let (length, len) = if len < self.block.len() {
            (len as u32, len)
        } else {
            self.out[start + 4..start + 4 + self.block.len()].copy_from_slice(&self.block);
            (self.block.len() as u32 | LZ4_STORED, self.block.len())
        };
        self.out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.out.truncate(start + 4 + len);
        self.block.clear();
        Ok(())
    }
}

fn fill_block<'b>(block: &mut Vec<u8>, block_bytes: usize, bytes: &'b [u8]) -> &'b [u8] {
    let (now, later) = bytes.split_at(bytes.len().min(block_bytes - block.len()));
    block.extend_from_slice(now);
    later
}
