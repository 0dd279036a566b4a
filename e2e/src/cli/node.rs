//! `flare-e2e node`: a stand-in node as a process, started with the arguments of `flared`.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::EnvFilter;

use crate::node::{CONTROL_HELP, Control, DataStore, Exit, NodeConfig, NodeHandle};
use crate::node::{SETTING_NAMES, Settings, SettingsError, StandInNode, StartError};

/// Status of a node that was killed through its own control port, as by SIGKILL.
const KILLED: u8 = 137;

/// Every key of flared's configuration is also a long option.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Configuration file of flared (`key = value`); options given here win over it
    #[arg(short = 'f', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Pid file; by default flared.pid in the data directory
    #[arg(short = 'p', long, value_name = "FILE")]
    pid: Option<PathBuf>,
    /// Log to stderr; without it nothing is logged
    #[arg(short = 's', long)]
    stderr: bool,
    /// Keep the entries in memory; a data directory is not needed then
    #[arg(long)]
    memory: bool,
    /// Address to listen on; by default the server name's if it is a loopback address, else all
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Ipv4Addr>,
    /// Loopback port that takes faults and restarts, one command a line; `help` lists them
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = control_address)]
    control: Option<SocketAddrV4>,
    #[command(flatten)]
    given: SettingArgs,
}

/// flared's keys as given on the command line; checked later, as flared does.
#[derive(Debug, Clone, Default)]
pub struct SettingArgs(Vec<(&'static str, String)>);

impl Args for SettingArgs {
    fn augment_args(command: Command) -> Command {
        let option = |(name, is_flag): &(&'static str, bool)| {
            let arg = Arg::new(*name).long(*name).help_heading("flared's settings");
            if *is_flag { arg.action(ArgAction::SetTrue) } else { arg.value_name("VALUE") }
        };
        command.args(SETTING_NAMES.iter().map(option))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = SETTING_NAMES.iter().filter_map(|(name, is_flag)| {
            if *is_flag {
                return matches.get_flag(name).then(|| (*name, String::new()));
            }
            matches.get_one::<String>(name).map(|value| (*name, value.clone()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = <Self as clap::FromArgMatches>::from_arg_matches(matches)?;
        Ok(())
    }
}

impl NodeArgs {
    fn into_config(self) -> Result<NodeConfig, SettingsError> {
        let mut settings = match &self.config {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        for (name, value) in &self.given.0 {
            settings.set(name, value)?;
        }
        if self.memory && settings.value("data-dir").is_empty() {
            settings.set("data-dir", "memory")?;
        }
        let directory = PathBuf::from(settings.value("data-dir"));
        let pid_path = match self.pid {
            None if self.memory => None,
            None => Some(directory.join("flared.pid")),
            given => given,
        };
        Ok(NodeConfig {
            settings,
            data: if self.memory { DataStore::Memory } else { DataStore::Directory(directory) },
            listen: self.listen,
            config_path: self.config,
            pid_path,
        })
    }
}

/// Runs a node to its end; the status is flared's.
pub fn run(args: NodeArgs) -> ExitCode {
    if args.stderr {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    }
    let control = args.control;
    let served = args.into_config().map_err(StartError::from).and_then(|config| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StartError::Ended(error.to_string()))?;
        runtime.block_on(serve(config, control))
    });
    match served {
        Ok(Exit::Status(status)) => ExitCode::from(status),
        Ok(Exit::Killed) => ExitCode::from(KILLED),
        Err(error) => {
            eprintln!("flare-e2e node: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

/// A port of 127.0.0.1, or any loopback address and port: whoever reaches it may break the node.
fn control_address(text: &str) -> Result<SocketAddrV4, String> {
    let port = text.parse().map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let address = port.or_else(|_| text.parse::<SocketAddrV4>());
    match address {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => Err("not a loopback address".to_owned()),
        Err(_) => Err("neither a port nor an address and port".to_owned()),
    }
}

/// The signals that flared knows.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

type Orders = mpsc::Receiver<(Control, oneshot::Sender<Result<(), String>>)>;

async fn serve(config: NodeConfig, control: Option<SocketAddrV4>) -> Result<Exit, StartError> {
    let failed = |error: io::Error| StartError::Ended(error.to_string());
    let mut signals = Signals::new().map_err(failed)?;
    let (orders, mut inbox) = mpsc::channel(1);
    if let Some(address) = control {
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        tokio::spawn(listen_for_orders(listener, orders));
    }
    let (mut node, ready) = StandInNode::spawn(config)?;
    let mut ready = Box::pin(ready);
    let mut up = false;
    loop {
        tokio::select! {
            started = &mut ready, if !up => {
                node.is_up(started?);
                up = true;
            }
            exit = node.ended() => return Ok(exit),
            _ = signals.terminate.recv() => return Ok(node.stop().await),
            _ = signals.interrupt.recv() => return Ok(node.stop().await),
            _ = signals.hang_up.recv() => {
                if let Err(why) = node.reload().await {
                    tracing::error!(why, "not reloaded");
                }
            }
            order = next_order(&mut inbox) => node = obey(node, order).await?,
        }
    }
}

/// The next order; never, without a control port.
async fn next_order(inbox: &mut Orders) -> (Control, oneshot::Sender<Result<(), String>>) {
    match inbox.recv().await {
        Some(order) => order,
        None => std::future::pending().await,
    }
}

async fn obey(
    node: NodeHandle,
    (order, done): (Control, oneshot::Sender<Result<(), String>>),
) -> Result<NodeHandle, StartError> {
    let node = match order {
        Control::Fault(fault) => {
            node.fault(fault);
            node
        }
        Control::Restart(empty) => node.restart(empty).await?,
        Control::Help => node,
    };
    // whoever asked may have gone
    let _ = done.send(Ok(()));
    Ok(node)
}

type Sender = mpsc::Sender<(Control, oneshot::Sender<Result<(), String>>)>;

async fn listen_for_orders(listener: TcpListener, orders: Sender) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(take_orders(stream, orders.clone()));
    }
}

async fn take_orders(mut stream: TcpStream, orders: Sender) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match Control::parse(&line) {
            Ok(Control::Help) => CONTROL_HELP.to_owned(),
            Ok(order) => give(&orders, order).await,
            Err(why) => format!("ERROR {why}\n"),
        };
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn give(orders: &Sender, order: Control) -> String {
    let (done, answer) = oneshot::channel();
    if orders.send((order, done)).await.is_err() {
        return "ERROR the node has ended\n".to_owned();
    }
    match answer.await {
        Ok(Ok(())) => "OK\n".to_owned(),
        Ok(Err(why)) => format!("ERROR {why}\n"),
        Err(_) => "ERROR the node has ended\n".to_owned(),
    }
}
