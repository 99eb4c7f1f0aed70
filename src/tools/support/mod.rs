//! Owns what several tools share: command lines by the rules of Kafka's parsers ([`options`] as joptsimple,
//! [`argparse`] as argparse4j), calls to a cluster ([`admin`], [`leaders`]), producers and consumers of
//! librdkafka ([`sender`], [`feed`], [`client_properties`]), and the terminal ([`terminal`], [`errors`], [`signals`]).

pub(crate) mod admin;
pub(crate) mod argparse;
pub(crate) mod client_properties;
pub(crate) mod coordinator_json;
pub(crate) mod errors;
pub(crate) mod feed;
pub(crate) mod leaders;
pub(crate) mod options;
pub(crate) mod sender;
pub(crate) mod signals;
pub(crate) mod terminal;
