//! Owns how log lines look: as log4j writes them under Kafka's own pattern, `[time] LEVEL message (target)`, or as JSON.

use jiff::Zoned;
use std::fmt;
use std::io::IsTerminal;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The session with ZooKeeper is reported by its owner; the package would report every dial.
const DEFAULT_FILTER: &str = "info,zookeeper_client=error";

/// Which lines are written: a `tracing` filter, `info` by default.
const FILTER_VARIABLE: &str = "ZURAU_LOG";
/// `json` for one JSON object a line.
const FORMAT_VARIABLE: &str = "ZURAU_LOG_FORMAT";

/// Starts to write log lines to standard output, as Kafka's console appender does.
pub fn start() {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(std::io::stdout().is_terminal());
    if std::env::var(FORMAT_VARIABLE).is_ok_and(|format| format == "json") {
        builder.json().init();
    } else {
        builder.fmt_fields(DefaultFields::new()).event_format(Log4j).init();
    }
}

struct Log4j;

impl<S, N> FormatEvent<S, N> for Log4j
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        writer.write_char('[')?;
        write!(writer, "{}] {} ", Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f"), metadata.level())?;
        ctx.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer, " ({})", metadata.target())
    }
}
