//! The line protocol of the control port: faults and restarts for a node that is a process of its
//! own. One command a line, answered `OK` or `ERROR <why>`.

use std::time::Duration;

use super::faults::{AnswerFault, Fault, Report};

/// The grammar, as the control port's `help` prints it.
pub const CONTROL_HELP: &str = "\
silence on|off            execute, answer and send nothing, but accept connections
refuse on|off             close the listening socket
delay MILLISECONDS        before every answer; 0 ends it
drip MILLISECONDS         before every byte of an answer; 0 ends it
half [TIMES [OP]]         send half of an answer, then close
close [TIMES [OP]]        close instead of answering
withhold [TIMES [OP]]     execute, do not answer, stay open
lose active|ready|proxy|shutdown [TIMES]   do not send that report
copy hold|release         stop a reconstruction before its next entry
copy pause MICROSECONDS   before each entry of a reconstruction; 0 ends it
copy fail [TIMES]         let the next reconstructions fail
writes hold|release       stop writes that were carried out before they are sent on to copies
storage damage KEY        the record of that key cannot be read any more, until the node is emptied
storage sick              answer ping with an error, until the process ends
threads hold|release      keep new threads towards other nodes from beginning
threads delay MILLISECONDS  before each of them begins; 0 ends it
clear                     end all faults
restart [empty]           as kill and start again, with or without its data
TIMES is 1 if left out, 0 takes the fault back; OP as in stats threads: ping, node_sync, set, get
";

/// A command of the control port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Begin or end a fault.
    Fault(Fault),
    /// Kill the node and start it again; without its data if true.
    Restart(bool),
    /// Print [`CONTROL_HELP`].
    Help,
}

impl Control {
    /// Parses a line; the error is for the person who typed it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fault = match words.as_slice() {
            ["silence", switch] => Fault::Silence(on(switch)?),
            ["refuse", switch] => Fault::Refuse(on(switch)?),
            ["delay", millis] => Fault::Delay(Duration::from_millis(number(millis)?)),
            ["drip", millis] => Fault::Drip(Duration::from_millis(number(millis)?)),
            ["half", rest @ ..] => answer(AnswerFault::Half, rest)?,
            ["close", rest @ ..] => answer(AnswerFault::Close, rest)?,
            ["withhold", rest @ ..] => answer(AnswerFault::Withhold, rest)?,
            ["lose", report, rest @ ..] => {
                Fault::LoseReport { report: kind(report)?, times: times(rest)? }
            }
            ["copy", "hold"] => Fault::HoldCopy(true),
            ["copy", "release"] => Fault::HoldCopy(false),
            ["copy", "pause", micros] => Fault::PauseCopy(Duration::from_micros(number(micros)?)),
            ["copy", "fail", rest @ ..] => Fault::FailCopy(times(rest)?),
            ["writes", "hold"] => Fault::HoldWrites(true),
            ["writes", "release"] => Fault::HoldWrites(false),
            ["storage", "damage", key] => Fault::Damage((*key).to_owned()),
            ["storage", "sick"] => Fault::FallSick,
            ["threads", "hold"] => Fault::HoldThreads(true),
            ["threads", "release"] => Fault::HoldThreads(false),
            ["threads", "delay", millis] => {
                Fault::DelayThreads(Duration::from_millis(number(millis)?))
            }
            ["clear"] => Fault::Clear,
            ["restart"] => return Ok(Self::Restart(false)),
            ["restart", "empty"] => return Ok(Self::Restart(true)),
            ["help"] => return Ok(Self::Help),
            _ => return Err(format!("unknown command '{line}', see help")),
        };
        Ok(Self::Fault(fault))
    }
}

fn on(word: &str) -> Result<bool, String> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("'{word}' is neither on nor off")),
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("'{word}' is not a number of 0 or more"))
}

fn times(words: &[&str]) -> Result<u32, String> {
    match words {
        [] => Ok(1),
        [word] => number(word),
        _ => Err("too many words".to_owned()),
    }
}

fn answer(how: AnswerFault, words: &[&str]) -> Result<Fault, String> {
    let (op, count) = match words {
        [_, op] => (Some((*op).to_owned()), &words[..1]),
        _ => (None, words),
    };
    Ok(Fault::Answer { how, op, times: times(count)? })
}

fn kind(word: &str) -> Result<Report, String> {
    Ok(match word {
        "active" => Report::Active,
        "ready" => Report::Ready,
        "proxy" => Report::Proxy,
        "shutdown" => Report::Shutdown,
        _ => return Err(format!("'{word}' is not active, ready, proxy or shutdown")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let fault = |line| match Control::parse(line) {
            Ok(Control::Fault(fault)) => fault,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(fault("silence on"), Fault::Silence(true));
        assert_eq!(fault("delay 250"), Fault::Delay(Duration::from_millis(250)));
        assert_eq!(fault("drip 200"), Fault::Drip(Duration::from_millis(200)));
        let half = Fault::Answer { how: AnswerFault::Half, op: None, times: 1 };
        assert_eq!(fault("half"), half);
        let op = Some("node_sync".to_owned());
        let withhold = Fault::Answer { how: AnswerFault::Withhold, op, times: 3 };
        assert_eq!(fault("withhold 3 node_sync"), withhold);
        let lose = Fault::LoseReport { report: Report::Ready, times: 2 };
        assert_eq!(fault("lose ready 2"), lose);
        assert_eq!(fault("copy fail"), Fault::FailCopy(1));
        assert_eq!(fault("writes hold"), Fault::HoldWrites(true));
        assert_eq!(fault("storage damage k1"), Fault::Damage("k1".to_owned()));
        assert_eq!(fault("threads hold"), Fault::HoldThreads(true));
        assert_eq!(fault("threads delay 50"), Fault::DelayThreads(Duration::from_millis(50)));
        assert_eq!(Control::parse("restart empty"), Ok(Control::Restart(true)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, part) in [
            ("nonsense", "see help"),
            ("silence maybe", "neither on nor off"),
            ("delay -1", "not a number"),
            ("lose all", "not active"),
            ("copy fail 1 2", "too many"),
        ] {
            let why = Control::parse(line).unwrap_err();
            assert!(why.contains(part), "{line}: {why}");
        }
    }
}
