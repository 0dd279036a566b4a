//! A load against a server that loses something once: it must be noticed, however much is done to
//! the same keys afterwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::*;

/// What the server does wrong, once it has answered so many requests, to as many as stands there.
#[derive(Clone, Copy)]
struct Fault {
    command: &'static str,
    from: u64,
    times: u64,
}

/// Operations before and after the fault.
const BEFORE: u64 = 500;
const AFTER: u64 = 2_500;

type Asked = (Vec<String>, oneshot::Sender<String>);

/// A store behind one socket that acknowledges everything, and carries out all but `fault`.
async fn serve(listener: TcpListener, fault: Fault) {
    let (ask, mut asked) = mpsc::unbounded_channel::<Asked>();
    tokio::spawn(async move {
        let (mut stored, mut count, mut lost) = (BTreeMap::new(), 0, 0);
        while let Some((words, answer)) = asked.recv().await {
            count += 1;
            let loses = words[0] == fault.command && count > fault.from && lost < fault.times;
            let mut copy = stored.clone();
            let line = carry_out(if loses { &mut copy } else { &mut stored }, &words);
            lost += u64::from(loses && copy != stored);
            answer.send(line).ok();
        }
    });
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, ask.clone()));
    }
}

async fn converse(stream: TcpStream, ask: mpsc::UnboundedSender<Asked>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await.ok()? {
        let mut words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        if matches!(&*words[0], "set" | "add" | "replace") {
            words.push(lines.next_line().await.ok()??);
        }
        let (answer, answered) = oneshot::channel();
        ask.send((words, answer)).ok()?;
        write.write_all(answered.await.ok()?.as_bytes()).await.ok()?;
    }
    None
}

fn carry_out(stored: &mut BTreeMap<String, String>, words: &[String]) -> String {
    let (key, there) = (&words[1], stored.contains_key(&words[1]));
    let said = match &*words[0] {
        "get" => match stored.get(key) {
            Some(value) => format!("VALUE {key} 0 {}\r\n{value}\r\nEND", value.len()),
            None => "END".to_owned(),
        },
        "add" if there => "NOT_STORED".to_owned(),
        "replace" if !there => "NOT_STORED".to_owned(),
        "set" | "add" | "replace" => {
            stored.insert(key.clone(), words[5].clone());
            "STORED".to_owned()
        }
        "delete" => stored.remove(key).map_or("NOT_FOUND", |_| "DELETED").to_owned(),
        "incr" => match stored.get_mut(key) {
            Some(value) => {
                *value = (value.parse::<u64>().expect("a number") + 1).to_string();
                value.clone()
            }
            None => "NOT_FOUND".to_owned(),
        },
        other => panic!("no {other} is expected"),
    };
    format!("{said}\r\n")
}

/// How many keys are noticed to be wrong after such a fault.
async fn noticed(fault: Fault, seed: u64) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let node: SocketAddr = listener.local_addr().expect("its address");
    let server = tokio::spawn(serve(listener, fault));
    let shape = Shape {
        nodes: vec![node],
        clients: 8,
        values: 50,
        counters: 10,
        kept: KEPT,
        prefix: "t".to_owned(),
        seed,
        patience: PATIENCE,
        resent_after: PATIENCE,
        rest: Duration::ZERO,
        from: None,
    };
    let mut load = Load::start(&shape).expect("it starts");
    load.flows(BEFORE + AFTER).await.expect("it flows");
    let outcome = load.stop().await.expect("it ends");
    let mut wrong = outcome.seen.contradicted.clone();
    for (key, ..) in outcome.wrong(node).await.expect("the server answers") {
        wrong.insert(key.name().to_owned());
    }
    server.abort();
    wrong.len()
}

async fn seeds(fault: Fault) -> Vec<(u64, usize)> {
    let mut all = Vec::new();
    for _ in 0..3 {
        let seed = rand::random();
        all.push((seed, noticed(fault, seed).await));
    }
    all
}

#[tokio::test]
async fn a_server_without_fault_is_not_blamed() {
    let none = Fault { command: "nothing", from: 0, times: 0 };
    for (seed, wrong) in seeds(none).await {
        assert_eq!(wrong, 0, "seed {seed}");
    }
}

/// One lost increment shows for ever. What else is lost shows when the key was laid aside then, or
/// by what `add` and `replace` answer, so in one of two to four cases.
#[tokio::test]
async fn what_is_lost_is_noticed_though_the_load_goes_on() {
    let lost = [("incr", 1), ("set", 60), ("replace", 60), ("add", 20), ("delete", 20)];
    for (command, times) in lost {
        for (seed, wrong) in seeds(Fault { command, from: BEFORE, times }).await {
            assert!(wrong > 0, "{times} lost {command}: seed {seed}");
        }
    }
}
