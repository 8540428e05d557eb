//! The sockets of a probe: sends to the neighbours of its node, answers theirs, and hands out what it counted line by line.
//!
//! Answers leave from the address that was asked: a host has several, and what keeps track of connections on the way would not
//! know another. Questions leave from whatever address the kernel finds best, as those of any program do.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use tokio::{net::UdpSocket, time::MissedTickBehavior};

use crate::probe::{
    ACCOUNT_MS, Account, Counter, LENGTH, Message, NEIGHBOURS, Net, Packet, PairAccount, Ring, TIMEOUT_MS,
};

/// How often a probe says again where it is.
const HERE: Duration = Duration::from_secs(1);

/// A probe that ends says so more than once, since nobody answers that.
const LEAVES: usize = 3;

/// Which probe this is.
#[derive(Clone, Debug)]
pub struct Probe {
    pub node: String,
    pub net: Net,
    pub address: IpAddr,
    pub port: u16,
    pub run: u64,
    pub ring: Ring,
    pub interval: Duration,
    /// Ask only, until every neighbour has answered or this is over.
    pub once: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    #[error("cannot listen on {address}")]
    Bind { address: SocketAddr, source: io::Error },
}

/// A neighbour's probe.
struct Target {
    node: String,
    net: Net,
    /// That of a pod is known once its host said it.
    address: Option<SocketAddr>,
    counter: Counter,
}

struct Running {
    probe: Probe,
    began: Instant,
    began_at: i64,
    asking: UdpSocket,
    /// For each neighbour its host and then its pod.
    targets: Vec<Target>,
    /// The pod's probe of this host.
    pod: Option<IpAddr>,
    ticked: Option<u64>,
    blind: u64,
}

/// Probes until `stop` comes, or once. Every line is an account; answers the last one.
pub async fn run(
    probe: Probe,
    mut write: impl FnMut(&Account),
    stop: impl Future<Output = ()>,
) -> Result<Account, EchoError> {
    let listening = match probe.once {
        None => Some(bind(SocketAddr::new(probe.address, probe.port)).await?),
        Some(_) => None,
    };
    let mut running = Running::new(probe).await?;
    let mut tick = every(running.probe.interval);
    let (mut here, mut account) = (every(HERE), every(Duration::from_millis(ACCOUNT_MS)));
    let (mut asked, mut answer) = ([0; LENGTH + 1], [0; LENGTH + 1]);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            // Answers that are there already are not lost: they come before the clock.
            biased;
            got = running.asking.recv_from(&mut answer) => running.take_answer(&answer[..length(&got)]),
            got = receive(listening.as_ref(), &mut asked) => running.take_question(listening.as_ref(), &asked, got).await,
            () = &mut stop => break,
            _ = tick.tick() => {
                running.ask_all().await;
                if running.is_over() {
                    break;
                }
            }
            _ = here.tick() => running.tell_host(Message::Here).await,
            _ = account.tick() => write(&running.account()),
        }
    }
    for _ in 0..LEAVES {
        running.tell_host(Message::Leave).await;
    }
    let last = running.account();
    write(&last);
    Ok(last)
}

async fn bind(address: SocketAddr) -> Result<UdpSocket, EchoError> {
    UdpSocket::bind(address).await.map_err(|source| EchoError::Bind { address, source })
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn receive(socket: Option<&UdpSocket>, bytes: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(bytes).await,
        None => std::future::pending().await,
    }
}

/// What came, or nothing: an error is about one packet.
fn length(got: &io::Result<(usize, SocketAddr)>) -> usize {
    got.as_ref().map_or(0, |(length, _)| *length)
}

impl Running {
    async fn new(probe: Probe) -> Result<Self, EchoError> {
        let any: IpAddr = match probe.address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let asking = bind(SocketAddr::new(any, 0)).await?;
        let interval = u64::try_from(probe.interval.as_millis()).unwrap_or(u64::MAX);
        let target = |node: &str, net, address| Target {
            node: node.to_owned(),
            net,
            address,
            counter: Counter::new(interval, TIMEOUT_MS),
        };
        let neighbours = probe.ring.neighbours(&probe.node, NEIGHBOURS).into_iter();
        let targets = neighbours.flat_map(|(node, address)| {
            [target(node, Net::Host, Some(SocketAddr::new(address, probe.port))), target(node, Net::Pod, None)]
        });
        let targets = targets.collect();
        let began_at = jiff::Timestamp::now().as_millisecond();
        Ok(Self { probe, began: Instant::now(), began_at, asking, targets, pod: None, ticked: None, blind: 0 })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Decides on what was sent before, then sends the next packet to each neighbour that is known.
    async fn ask_all(&mut self) {
        let now = self.now();
        self.note_blindness(now);
        let run = self.probe.run;
        for (pair, target) in self.targets.iter_mut().enumerate() {
            target.counter.settle(now);
            let (Some(address), Ok(pair)) = (target.address, u16::try_from(pair)) else { continue };
            let sequence = target.counter.send(now);
            let packet = Packet { message: Message::Ask, run, pair, sequence, pod: None };
            // One that cannot be sent gets no answer, and so is lost.
            let _ = self.asking.send_to(&packet.to_bytes(), address).await;
        }
    }

    /// A probe that did not run for a while sent nothing, so nothing was lost then, and nothing was seen.
    fn note_blindness(&mut self, now: u64) {
        let interval = u64::try_from(self.probe.interval.as_millis()).unwrap_or(u64::MAX);
        let passed = self.ticked.replace(now).map_or(0, |ticked| now - ticked);
        if passed > 3 * interval {
            self.blind += passed - interval;
        }
    }

    fn take_answer(&mut self, bytes: &[u8]) {
        let ours = |packet: &Packet| packet.run == self.probe.run && packet.message == Message::Answer;
        let Some(packet) = Packet::read(bytes).filter(ours) else { return };
        let pair = usize::from(packet.pair);
        let Some(target) = self.targets.get_mut(pair) else { return };
        target.counter.answer(packet.sequence);
        if target.net == Net::Host {
            self.found(pair + 1, packet.pod);
        }
    }

    /// The host of a neighbour says where its pod is.
    fn found(&mut self, pair: usize, pod: Option<IpAddr>) {
        let address = pod.map(|pod| SocketAddr::new(pod, self.probe.port));
        let Some(target) = self.targets.get_mut(pair).filter(|target| target.address != address) else { return };
        target.counter.forget();
        target.address = address;
    }

    async fn take_question(
        &mut self,
        listening: Option<&UdpSocket>,
        bytes: &[u8],
        got: io::Result<(usize, SocketAddr)>,
    ) {
        let (Some(socket), Ok((length, from))) = (listening, got) else { return };
        let packet = Packet::read(&bytes[..length]).filter(|packet| packet.run == self.probe.run);
        let Some(packet) = packet else { return };
        match packet.message {
            Message::Ask => {
                let answer = Packet { message: Message::Answer, pod: self.pod, ..packet };
                let _ = socket.send_to(&answer.to_bytes(), from).await;
            }
            Message::Here if self.probe.net == Net::Host => self.pod = packet.pod,
            Message::Leave if self.pod == packet.pod => self.pod = None,
            Message::Here | Message::Leave | Message::Answer => {}
        }
    }

    /// The probe on the pod network tells that of its host where it is.
    async fn tell_host(&self, message: Message) {
        let Probe { net, once, port, run, address, .. } = self.probe;
        let host = self.probe.ring.address(&self.probe.node);
        let (Net::Pod, None, Some(host)) = (net, once, host) else { return };
        let packet = Packet { message, run, pair: 0, sequence: 0, pod: Some(address) };
        let _ = self.asking.send_to(&packet.to_bytes(), SocketAddr::new(host, port)).await;
    }

    /// A single look ends when every neighbour has answered, or its time is over.
    fn is_over(&self) -> bool {
        let Some(limit) = self.probe.once else { return false };
        self.began.elapsed() >= limit || self.targets.iter().all(|target| target.counter.answered > 0)
    }

    fn account(&self) -> Account {
        let pair = |target: &Target| PairAccount::of(target.node.clone(), target.net, &target.counter);
        Account {
            node: self.probe.node.clone(),
            net: self.probe.net,
            began: self.began_at,
            at: self.now(),
            interval: u64::try_from(self.probe.interval.as_millis()).unwrap_or(u64::MAX),
            blind: self.blind,
            pairs: self.targets.iter().map(pair).collect(),
        }
    }
}
