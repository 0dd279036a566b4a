//! Plays a transcript with one stand-in node in the place of one recorded `flared`; everybody else
//! in the recording, index, clients and other nodes, is played by the replay.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use flare_e2e::node::{Exit, Fault, NodeConfig, NodeHandle, Settings, StandInNode};
use flare_e2e::transcript::{Event, Side, Transcript};
use tokio::net::TcpStream;

use crate::wires::{PATIENCE, Stage, Wire};
use crate::{reload, shape};

/// The recorded address; every replay has its own.
const RECORDED: &str = "127.0.0.1";
const INDEX_PORT: u16 = 12120;
/// Number of the connection by which a node registers before the recording begins.
const REGISTRATION: u32 = 0;

/// One node's part of a recording.
pub(crate) struct Scene {
    pub(crate) transcript: &'static str,
    /// Port of the node whose part the stand-in takes.
    pub(crate) subject: u16,
    /// Map of its `node add` reply (without `NODE <address>`), if its start is not recorded.
    pub(crate) started_with: Option<&'static [&'static str]>,
    /// So many keys `key00` = `v00`, … are stored before anything else.
    pub(crate) keys: usize,
    /// Sent to it before the recording begins.
    pub(crate) before: &'static [&'static str],
    /// Its settings besides name, port and index.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Connections that it opened although the recording does not name it.
    pub(crate) own: &'static [u32],
    /// The last line of the recording that is played; later ones are about others.
    pub(crate) until: usize,
}

impl Scene {
    pub(crate) const fn new(transcript: &'static str, subject: u16) -> Self {
        Self {
            transcript,
            subject,
            started_with: None,
            keys: 0,
            before: &[],
            settings: &[],
            own: &[],
            until: usize::MAX,
        }
    }
}

/// What the replay does for a recorded connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It connects to the node.
    Client,
    /// It is connected to by the node, at this port.
    Server(u16),
    /// Neither end is the node.
    Nobody,
}

/// A loopback address for this replay: the process and a counter keep concurrent ones apart.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 16 | high, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Port in `flared:12121(proxy thread)` or `A/flared:12121`; the index has none in its name.
fn port_of(party: &str) -> Option<u16> {
    if party.contains("index") || party.starts_with("flarei") {
        return party.split(':').nth(1).map_or(Some(INDEX_PORT), |port| port.parse().ok());
    }
    let digits: String =
        party.split_once("flared:")?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn text(line: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(line))
}

fn line_text(line: Option<Vec<u8>>) -> String {
    line.map_or("an end of the connection".to_owned(), |line| text(&line))
}

struct Replay<'a> {
    scene: &'a Scene,
    ip: Ipv4Addr,
    stage: Stage,
    node: Option<NodeHandle>,
    parts: BTreeMap<u32, Part>,
    /// Connections that the replay opened.
    wires: BTreeMap<u32, Wire>,
    /// The one through which the node was prepared stays open, as the recorded index's did.
    held: Option<Wire>,
    /// The node's configuration, which a recorded SIGHUP changes.
    settings: Settings,
    /// Where its file is.
    folder: tempfile::TempDir,
    /// An orderly stop that goes on while its report is played.
    stopping: Option<tokio::task::JoinHandle<Exit>>,
}

/// Plays a scene and panics, with the line of the recording, on the first difference.
pub(crate) async fn play(scene: &Scene) {
    let transcript = Transcript::named(scene.transcript).unwrap_or_else(|e| panic!("{e}"));
    let ip = own_address();
    let mut replay = Replay {
        scene,
        ip,
        stage: Stage::new(ip),
        node: None,
        parts: BTreeMap::new(),
        wires: BTreeMap::new(),
        held: None,
        settings: Settings::default(),
        folder: tempfile::tempdir().expect("a scratch folder"),
        stopping: None,
    };
    replay.prepare(&transcript).await;
    for step in transcript.steps.iter().filter(|step| step.line <= scene.until) {
        if let Err(why) = replay.step(&step.event).await {
            panic!("{} as {}, line {}: {why}", scene.transcript, scene.subject, step.line);
        }
    }
    let mut rest = replay.stage.leftovers();
    rest.extend(replay.wires.values_mut().flat_map(Wire::leftovers));
    assert!(rest.is_empty(), "{} as {}: more came: {rest:?}", scene.transcript, scene.subject);
}

impl Replay<'_> {
    /// Listens in the place of all others, and brings the node to where the recording begins.
    async fn prepare(&mut self, transcript: &Transcript) {
        let opened = transcript.steps.iter().filter_map(|step| match &step.event {
            Event::Open { to, .. } => port_of(to),
            _ => None,
        });
        let mut ports: Vec<u16> = opened.chain([INDEX_PORT]).collect();
        ports.sort_unstable();
        ports.dedup();
        for port in ports.into_iter().filter(|port| *port != self.scene.subject) {
            self.stage.listen(port).await;
        }
        let Some(map) = self.scene.started_with else { return };
        self.spawn();
        if let Err(why) = self.register(map).await {
            panic!("{} as {}, start: {why}", self.scene.transcript, self.scene.subject);
        }
        let mut client = self.connect().await;
        let keys = (0..self.scene.keys).map(|n| format!("set key{n:02} 0 0 3\r\nv{n:02}\r\n"));
        let before = self.scene.before.iter().map(|request| (*request).to_owned());
        // It listens before it serves; what the recording begins with needs a node that serves.
        let serves = std::iter::once("ping\r\n".to_owned());
        for request in serves.chain(keys).chain(before) {
            let answer = async {
                client.send(&self.here(request.as_bytes())).await?;
                client.line().await.ok_or("no answer".to_owned())
            };
            let answer = answer.await.unwrap_or_else(|why| panic!("{request}: {why}"));
            let bad = answer.starts_with(b"ERROR") || answer.starts_with(b"SERVER_ERROR");
            assert!(!bad, "{request}: {}", String::from_utf8_lossy(&answer));
        }
        self.held = Some(client);
    }

    /// Answers `node add` and `meta`.
    async fn register(&mut self, map: &[&str]) -> Result<(), String> {
        let add = format!("node add {} {}\r\n", self.ip, self.scene.subject);
        let lines: String = map.iter().map(|node| format!("NODE {} {node}\r\n", self.ip)).collect();
        let meta = "META partition-size 1024\r\nMETA key-hash-algorithm simple\r\n\
                    META partition-type modular\r\nMETA partition-modular-hint 1\r\n\
                    META partition-modular-virtual 4096\r\nEND\r\n";
        for (request, answer) in
            [(add, format!("{lines}END\r\n")), ("meta\r\n".to_owned(), meta.to_owned())]
        {
            let fits = |line: &[u8]| line == request.as_bytes();
            self.stage.take(REGISTRATION, INDEX_PORT, fits, false).await?;
            let index = self.stage.wire(REGISTRATION).ok_or("no connection")?;
            index.send(answer.as_bytes()).await?;
        }
        Ok(())
    }

    fn spawn(&mut self) {
        let index = format!("{}:{INDEX_PORT}", self.ip);
        let mut config = NodeConfig::new(&self.ip.to_string(), self.scene.subject, &index);
        for (key, value) in self.scene.settings {
            config = config.with(key, value).expect("a setting of flared");
        }
        config.config_path = Some(self.folder.path().join("conf"));
        let (node, _ready) = StandInNode::spawn(config).expect("a thread");
        self.node = Some(node);
    }

    /// A connection to the node; it may still be starting.
    async fn connect(&self) -> Wire {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect((self.ip, self.scene.subject)).await {
                Ok(stream) => return Wire::new(stream),
                Err(error) => {
                    assert!(tokio::time::Instant::now() < end, "no connection: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
        }
    }

    /// Recorded bytes with this replay's address.
    fn here(&self, bytes: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.replace(RECORDED, &self.ip.to_string()).into_bytes(),
            Err(_) => bytes.to_vec(),
        }
    }

    fn part(&self, conn: u32, from: &str, to: &str) -> Part {
        let (from, to) = (port_of(from), port_of(to));
        let subject = Some(self.scene.subject);
        match to {
            _ if from != subject && to == subject => Part::Client,
            Some(to) if from == subject || self.scene.own.contains(&conn) => Part::Server(to),
            _ => Part::Nobody,
        }
    }

    async fn step(&mut self, event: &Event) -> Result<(), String> {
        if let Event::Open { conn, from, to, .. } = event {
            self.parts.insert(*conn, self.part(*conn, from, to));
        }
        let part = event.conn().and_then(|conn| self.parts.get(&conn).copied());
        match (event, part) {
            (Event::Note(text), _) => self.note(text).await,
            (Event::Data { conn, from, bytes }, Some(Part::Client)) => {
                let bytes = self.here(bytes);
                if !self.wires.contains_key(conn) {
                    let wire = self.connect().await;
                    self.wires.insert(*conn, wire);
                }
                let wire = self.wires.get_mut(conn).ok_or("no connection")?;
                if *from == Side::Client {
                    return wire.send(&bytes).await;
                }
                match wire.line().await {
                    Some(line) if shape::matches(&bytes, &line) => Ok(()),
                    seen => Err(format!("recorded {}, seen {}", text(&bytes), line_text(seen))),
                }
            }
            (Event::Data { conn, from: Side::Client, bytes }, Some(Part::Server(port))) => {
                let bytes = self.here(bytes);
                if bytes.starts_with(b"node add ") && !self.runs() {
                    self.spawn();
                }
                let is_read = bytes.starts_with(b"get ") || bytes.starts_with(b"gets ");
                let fits = |line: &[u8]| shape::matches(&bytes, line);
                let taken = self.stage.take(*conn, port, fits, is_read).await;
                taken.map_err(|why| format!("recorded {}: {why}", text(&bytes)))
            }
            (Event::Data { conn, from: Side::Server, bytes }, Some(Part::Server(_))) => {
                let bytes = self.here(bytes);
                self.stage.wire(*conn).ok_or("no connection")?.send(&bytes).await
            }
            (Event::Closed { conn, by }, Some(part)) => self.closed(*conn, *by, part).await,
            _ => Ok(()),
        }
    }

    /// The replay closes its side, or expects the node to close. Connections that carried nothing
    /// are not looked at.
    async fn closed(&mut self, conn: u32, by: Side, part: Part) -> Result<(), String> {
        let wire = match part {
            Part::Client => self.wires.get_mut(&conn),
            Part::Server(_) => self.stage.wire(conn),
            Part::Nobody => None,
        };
        let Some(wire) = wire else { return Ok(()) };
        let ours = match part {
            Part::Client => Side::Client,
            _ => Side::Server,
        };
        if by == ours {
            wire.close().await;
        } else if !wire.ends().await {
            return Err(format!("recorded an end of the connection, seen {:?}", wire.leftovers()));
        }
        Ok(())
    }

    fn runs(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.exit().is_none())
    }

    /// What the person who recorded did to the node or saw of it.
    async fn note(&mut self, text: &str) -> Result<(), String> {
        let me = format!("flared:{}", self.scene.subject);
        if let Some(changes) = reload::changes(text, self.scene.subject) {
            return self.reload(changes).await;
        }
        if text.contains("flarei is not running") {
            self.stage.leave(INDEX_PORT).await;
            self.spawn();
        } else if text.contains("is started again, flarei 2 s later") {
            self.spawn();
            self.stage.listen(INDEX_PORT).await;
        } else if text.starts_with("flarei is gone") {
            self.stage.leave(INDEX_PORT).await;
            self.terminate()?;
        } else if text.starts_with(&me) && text.contains("is stopped with SIGSTOP") {
            self.fault(Fault::Silence(true));
        } else if text == "SIGCONT" {
            self.fault(Fault::Silence(false));
        } else if text.starts_with("case ")
            && self.scene.transcript == "node-start-up-against-odd-index"
        {
            self.kill().await;
            self.spawn();
        } else if text.contains("index does not listen") {
            self.stage.leave(INDEX_PORT).await;
        } else if text.contains("index listens again") {
            self.stage.listen(INDEX_PORT).await;
        } else if text.contains("the master process is gone") {
            self.stage.leave(12122).await;
        } else if text.starts_with(&me) && text.contains("receives SIGTERM") {
            self.terminate()?;
        } else if text.starts_with(&me) && text.contains("is killed") {
            self.kill().await;
        } else if text.starts_with(&me) && text.contains("status ") {
            return self.exited(text).await;
        } else if text.starts_with(&me) && text.contains("is running") && !self.runs() {
            return Err("the node has ended".to_owned());
        }
        Ok(())
    }

    /// Writes the changed configuration, and SIGHUP.
    async fn reload(&mut self, changes: &[(&str, &str)]) -> Result<(), String> {
        let ip = self.ip.to_string();
        let index = format!("{ip}:{INDEX_PORT}");
        for (key, value) in changes.iter().chain(&[("index-servers", index.as_str())]) {
            let value = value.replace(RECORDED, &ip);
            self.settings.set(key, &value).map_err(|error| error.to_string())?;
        }
        let path = self.folder.path().join("conf");
        std::fs::write(path, self.settings.to_string()).map_err(|error| error.to_string())?;
        self.node.as_ref().ok_or("no node")?.reload().await
    }

    /// SIGTERM, whose consequences are played next.
    fn terminate(&mut self) -> Result<(), String> {
        let node = self.node.take().ok_or("no node to stop")?;
        self.stopping = Some(tokio::spawn(async move { node.stop().await }));
        Ok(())
    }

    fn fault(&self, fault: Fault) {
        if let Some(node) = &self.node {
            node.fault(fault);
        }
    }

    async fn kill(&mut self) {
        if let Some(node) = self.node.take() {
            node.kill().await;
        }
    }

    async fn exited(&mut self, text: &str) -> Result<(), String> {
        let status = text.split("status ").nth(1).and_then(|s| s.split(' ').next());
        if status == Some("None") {
            return if self.runs() { Ok(()) } else { Err("the node has ended".to_owned()) };
        }
        let status: u8 = status.and_then(|s| s.parse().ok()).ok_or("no status in the note")?;
        let exit = match (&self.node, self.stopping.take()) {
            (_, Some(stopping)) => stopping.await.map_err(|error| error.to_string())?,
            (Some(node), None) => node.ended().await,
            (None, None) => return Err("no node".to_owned()),
        };
        if exit == Exit::Status(status) { Ok(()) } else { Err(format!("it ended with {exit:?}")) }
    }
}
