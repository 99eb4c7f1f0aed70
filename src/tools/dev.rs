//! `zurau dev`: a broker with its own ZooKeeper, ready to try. Absent on purpose: anything that a production broker
//! does not have; it is the same broker with an ordinary configuration.

use super::broker::Signals;
use crate::config::{BrokerConfig, Props};
use crate::server::runtimes::Runtimes;
use crate::util::logging;
use crate::util::task::Group;
use crate::zookeeper;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing::error;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The data directory; a new temporary directory when absent.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Port of the broker, at 127.0.0.1.
    #[arg(long, default_value_t = 9092)]
    port: u16,
    /// Port of ZooKeeper, at 127.0.0.1.
    #[arg(long, default_value_t = 2181)]
    zookeeper_port: u16,
}

pub(super) fn run(args: &Args) -> ExitCode {
    logging::start();
    match serve(args) {
        Ok(code) => code,
        Err(reason) => {
            error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let data_dir = match &args.data_dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("zurau-dev-{}", std::process::id())),
    };
    std::fs::create_dir_all(&data_dir)?;
    let config = BrokerConfig::new(&properties(args, &data_dir))?;
    let runtimes = Runtimes::for_config(&config)?;
    let tasks = Group::new(runtimes.session.handle().clone());
    let zookeeper = zookeeper::server::Config {
        data_dir: Some(data_dir.join("zookeeper")),
        ..zookeeper::server::Config::new(SocketAddr::from((Ipv4Addr::LOCALHOST, args.zookeeper_port)))
    };
    let _zookeeper = zookeeper::server::Server::start(zookeeper, &tasks)?;
    let greet = || println!("{}", greeting(args, &data_dir));
    let code = runtimes.control.block_on(async { Signals::new().run(config, &runtimes, greet).await });
    Ok(code)
}

fn properties(args: &Args, data_dir: &Path) -> Props {
    let entries = [
        ("broker.id", "0".to_owned()),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{}", args.port)),
        ("log.dirs", data_dir.join("kafka-logs").display().to_string()),
        ("zookeeper.connect", format!("127.0.0.1:{}", args.zookeeper_port)),
        ("offsets.topic.replication.factor", "1".to_owned()),
        ("transaction.state.log.replication.factor", "1".to_owned()),
        ("transaction.state.log.min.isr", "1".to_owned()),
    ];
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn greeting(args: &Args, data_dir: &Path) -> String {
    let (port, zookeeper_port, dir) = (args.port, args.zookeeper_port, data_dir.display());
    format!(
        "
Zurau is ready: broker at 127.0.0.1:{port}, ZooKeeper at 127.0.0.1:{zookeeper_port}, data in {dir}

Try, in another terminal:
  bin/kafka-topics.sh --bootstrap-server 127.0.0.1:{port} --create --topic hello --partitions 3
  echo 'first record' | bin/kafka-console-producer.sh --bootstrap-server 127.0.0.1:{port} --topic hello
  bin/kafka-console-consumer.sh --bootstrap-server 127.0.0.1:{port} --topic hello --from-beginning --max-messages 1
  bin/zookeeper-shell.sh 127.0.0.1:{zookeeper_port} ls -R /brokers
Ctrl-C stops both.
"
    )
}
