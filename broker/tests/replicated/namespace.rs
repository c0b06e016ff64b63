//! A network namespace with two wires to this one: a broker in it can be cut off from NATS so that
//! packets vanish and no connection ends, while its clients still reach it.
//!
//! Needs root and `ip`; where the machine does not allow it there is none.

use std::net::Ipv4Addr;
use std::process::Command;

use crate::support::broker::Broker;

/// A namespace; deleted with its wires when dropped.
pub(crate) struct Namespace {
    name: String,
    number: u8,
}

impl Namespace {
    /// A new one; `None` where there can't be one.
    pub(crate) fn new() -> Option<Self> {
        let id = std::process::id();
        let it = Self { name: format!("altavoz{id}"), number: (id % 250) as u8 };
        if !run(&format!("netns add {}", it.name)) {
            return None;
        }
        let inside = format!("-n {}", it.name);
        let made = run(&format!("{inside} link set lo up"))
            && [('c', 231), ('n', 232)].into_iter().all(|(letter, net)| {
                let (near, far) = (it.wire(letter), format!("{}p", it.wire(letter)));
                let (name, number) = (&it.name, it.number);
                run(&format!("link add {near} type veth peer name {far}"))
                    && run(&format!("link set {far} netns {name}"))
                    && run(&format!("addr add 10.{net}.{number}.1/24 dev {near}"))
                    && run(&format!("{inside} addr add 10.{net}.{number}.2/24 dev {far}"))
                    && run(&format!("link set {near} up"))
                    && run(&format!("{inside} link set {far} up"))
            });
        made.then_some(it)
    }

    /// Where NATS is, seen from inside.
    pub(crate) fn outside(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 232, self.number, 1)
    }

    /// A broker inside, that clients outside reach.
    pub(crate) fn start(&self, arguments: &[&str]) -> Broker {
        let listen = format!("10.231.{}.2:0", self.number);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, env!("CARGO_BIN_EXE_broker")]);
        command.args(["--listen", &listen, "--open"]);
        Broker::start_by(command, arguments)
    }

    /// Packets to and from NATS vanish.
    pub(crate) fn cut(&self) {
        assert!(run(&format!("link set {} down", self.wire('n'))));
    }

    /// They pass again.
    pub(crate) fn mend(&self) {
        assert!(run(&format!("link set {} up", self.wire('n'))));
    }

    fn wire(&self, letter: char) -> String {
        format!("av{}{letter}", std::process::id())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The wires go with it. What can't be deleted was not made.
        run(&format!("netns del {}", self.name));
    }
}

fn run(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let is_done = output.as_ref().is_ok_and(|output| output.status.success());
    if !is_done {
        eprintln!("ip {arguments}: {output:?}");
    }
    is_done
}
