//! `canary firewall`: prints nftables rules; changes nothing itself.

use super::failure::{Exit, Failure};
use clap::Args;
use ipnet::IpNet;
use model::{Host, NodeId, Peers};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use terminal::listed;

/// How long to wait for the address of a host name: as long as a resolver needs to try a second server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(6);

/// Print nftables rules that let only the peers in.
///
/// The control plane (ports 60001 and up) is open to the addresses of PEERS_NODE_A, PEERS_NODE_B … only. The data
/// plane (ports 50051 and up) stays open, or is open to the peers, to this machine and to what --clients names. The
/// rules live in a table of their own, inet canary, touch no other port and replace themselves when applied again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary firewall | sudo nft -f -            apply
  canary firewall --clients 10.0.0.0/8 --clients 2001:db8::/32
  sudo nft list table inet canary            see what is applied, with counters
  sudo nft delete table inet canary          take it away")]
pub(crate) struct FirewallArgs {
    /// Who may use the data plane, as a block such as 10.0.0.0/8 or one address; repeat for more [default: everyone]
    #[arg(long, value_name = "CIDR", value_parser = parse_block)]
    clients: Vec<IpNet>,
}

pub(crate) fn run(args: FirewallArgs, certs: &Path) -> Result<Exit, Failure> {
    let peers = client::peers(certs)?;
    if peers.iter().all(|(_, host)| host.is_loopback()) {
        anstream::eprintln!(
            "warning: all members are on loopback addresses, so no other machine will get through; \
             set PEERS_NODE_A, PEERS_NODE_B and PEERS_NODE_C if that is not meant"
        );
    }
    let members = resolve(&peers)?;
    let rules = Ruleset { members, clients: args.clients }.to_string();
    // A reader that has seen enough is no reason to complain.
    let _ = anstream::stdout().write_all(rules.as_bytes());
    Ok(Exit::Done)
}

fn parse_block(text: &str) -> Result<IpNet, String> {
    match text.trim().parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address.to_canonical())),
        Err(_) => trust::parse_network(text),
    }
}

/// A member with the addresses that its connections come from.
struct Member {
    id: NodeId,
    host: Host,
    addresses: Vec<IpAddr>,
}

fn resolve(peers: &Peers) -> Result<Vec<Member>, Failure> {
    let resolved = |(id, host): (NodeId, &Host)| {
        let addresses = match host {
            Host::Ip(address) => vec![*address],
            Host::Name(name) => look_up(name).map_err(|error| {
                let message = format!("{}: cannot find the address of {name}: {error}", id.variable());
                Failure::message(Exit::Configuration, message)
                    .with_hint(format!("check the name with `getent ahosts {name}`, or set the address itself"))
            })?,
        };
        Ok(Member { id, host: host.clone(), addresses })
    };
    peers.iter().map(resolved).collect()
}

fn look_up(name: &str) -> Result<Vec<IpAddr>, String> {
    let (found, answer) = mpsc::channel();
    let target = name.to_owned();
    // The system's resolver cannot be told to stop, so it gets a thread that nobody waits for.
    thread::spawn(move || {
        let addresses = (target.as_str(), 0).to_socket_addrs();
        let _ = found.send(addresses.map(|all| all.map(|one| one.ip().to_canonical()).collect::<Vec<_>>()));
    });
    match answer.recv_timeout(LOOKUP_TIMEOUT) {
        Ok(Ok(mut addresses)) if !addresses.is_empty() => {
            addresses.sort_unstable();
            addresses.dedup();
            Ok(addresses)
        }
        Ok(Ok(_)) => Err("it has none".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs())),
    }
}

/// The rules, shown as a file for `nft -f`.
struct Ruleset {
    members: Vec<Member>,
    clients: Vec<IpNet>,
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        // Adding before deleting makes the deletion succeed whether the table is there or not.
        f.write_str("add table inet canary\ndelete table inet canary\n\ntable inet canary {\n")?;
        self.peer_sets(f)?;
        self.client_sets(f)?;
        self.chain(f)?;
        f.write_str("}\n")
    }
}

impl Ruleset {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "#!/usr/sbin/nft -f\n# Rules for a node of the canary mesh; the same on every member's machine:\n",
        )?;
        for Member { id, host, addresses } in &self.members {
            match host {
                Host::Ip(address) => writeln!(f, "#   {id}  {address}")?,
                Host::Name(name) => {
                    let addresses = listed(addresses).replace(", ", " and ");
                    writeln!(f, "#   {id}  {name}, which was {addresses} when this was printed")?;
                }
            }
        }
        if self.members.iter().any(|member| matches!(member.host, Host::Name(_))) {
            f.write_str("# nftables matches addresses only: print and apply these rules again when a name moves.\n")?;
        }
        f.write_str("# Applying them again replaces them. Everything else on the machine is left as it is.\n\n")
    }

    fn peer_sets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut owners: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
        for member in &self.members {
            for address in &member.addresses {
                owners.entry(*address).or_default().push(member.id.to_string());
            }
        }
        for family in &FAMILIES {
            let own = owners.iter().filter(|(address, _)| (family.has)(address));
            let elements: String = own.fold(String::new(), |mut text, (address, ids)| {
                let _ = writeln!(text, "            {address}, # {}", ids.join(", "));
                text
            });
            family.set(f, "peers", "", &format!("{{\n{elements}        }}"), elements.is_empty())?;
        }
        Ok(())
    }

    fn client_sets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for family in &FAMILIES {
            let own: Vec<&IpNet> = self.clients.iter().filter(|block| (family.has)(&block.addr())).collect();
            let flags = "        flags interval\n        auto-merge\n";
            family.set(f, "clients", flags, &format!("{{ {} }}", listed(&own)), own.is_empty())?;
        }
        Ok(())
    }

    fn chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.members.last().map_or(NodeId::A, |member| member.id);
        let control = format!("tcp dport {}-{}", NodeId::A.control_port(), last.control_port());
        let data = format!("tcp dport {}-{}", NodeId::A.data_port(), last.data_port());
        f.write_str(
            "    chain input {\n        type filter hook input priority filter; policy accept;\n\n        \
             # Answers to connections that this machine made: Linux may pick one of these ports for its own end.\n        \
             ct direction reply accept\n\n        # Control plane: the peers only.\n",
        )?;
        self.accept_peers(f, &control)?;
        writeln!(f, "        {control} counter drop comment \"control plane: not a peer\"\n")?;
        if self.clients.is_empty() {
            writeln!(f, "        # Data plane ({data}): open. It asks for an operator's certificate where it must.")?;
        } else {
            f.write_str("        # Data plane: this machine, the peers and the clients.\n")?;
            writeln!(f, "        iifname \"lo\" {data} accept")?;
            self.accept_peers(f, &data)?;
            accept(f, &data, "clients", self.clients.iter().map(IpNet::addr))?;
            writeln!(f, "        {data} counter drop comment \"data plane: not a client\"")?;
        }
        f.write_str("    }\n")
    }

    fn accept_peers(&self, f: &mut fmt::Formatter<'_>, ports: &str) -> fmt::Result {
        accept(f, ports, "peers", self.members.iter().flat_map(|member| member.addresses.iter().copied()))
    }
}

/// Accepts on `ports` whoever is in the sets of `who`, of which there is one for each family that has `addresses`.
fn accept(
    f: &mut fmt::Formatter<'_>,
    ports: &str,
    who: &str,
    addresses: impl Iterator<Item = IpAddr> + Clone,
) -> fmt::Result {
    for family in FAMILIES.iter().filter(|family| addresses.clone().any(|address| (family.has)(&address))) {
        writeln!(f, "        {} saddr @{who}_{} {ports} accept", family.word, family.ending)?;
    }
    Ok(())
}

/// A family of addresses, in the words of nftables.
struct Family {
    word: &'static str,
    set_type: &'static str,
    /// How the names of its sets end.
    ending: &'static str,
    has: fn(&IpAddr) -> bool,
}

const FAMILIES: [Family; 2] = [
    Family { word: "ip", set_type: "ipv4_addr", ending: "v4", has: IpAddr::is_ipv4 },
    Family { word: "ip6", set_type: "ipv6_addr", ending: "v6", has: IpAddr::is_ipv6 },
];

impl Family {
    /// The set of `who`, unless nobody has an address of this family.
    fn set(&self, f: &mut fmt::Formatter<'_>, who: &str, flags: &str, elements: &str, is_empty: bool) -> fmt::Result {
        if is_empty {
            return Ok(());
        }
        let Self { set_type, ending, .. } = self;
        writeln!(
            f,
            "    set {who}_{ending} {{\n        type {set_type}\n{flags}        elements = {elements}\n    }}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(hosts: [&str; 3], clients: &[&str]) -> String {
        let ids = ["node-a", "node-b", "node-c"].map(|id| id.parse::<NodeId>().expect("a node"));
        let hosts = ids.into_iter().zip(hosts.map(|host| host.parse::<Host>().expect("a host")));
        let members = resolve(&Peers::new(hosts).expect("three members")).expect("addresses");
        let clients = clients.iter().map(|block| parse_block(block).expect("a block")).collect();
        Ruleset { members, clients }.to_string()
    }

    #[test]
    fn the_control_plane_is_for_the_peers_only() {
        let text = rules(["10.0.0.1", "10.0.0.2", "10.0.0.2"], &[]);
        assert!(text.contains("            10.0.0.2, # node-b, node-c\n"), "a shared address is there once:\n{text}");
        assert!(text.contains("        ip saddr @peers_v4 tcp dport 60001-60003 accept\n"), "{text}");
        assert!(text.contains("        tcp dport 60001-60003 counter drop"), "{text}");
        assert!(!text.contains("v6"), "no set for a family that nobody has:\n{text}");
        assert!(text.contains("(tcp dport 50051-50053): open"), "{text}");
    }

    #[test]
    fn both_families_and_clients_have_sets() {
        let text = rules(["10.0.0.1", "2001:db8::2", "10.0.0.3"], &["10.0.0.0/8", "10.1.0.0/16", "192.0.2.9", "::/0"]);
        for line in [
            "ip6 saddr @peers_v6 tcp dport 60001-60003 accept",
            "iifname \"lo\" tcp dport 50051-50053 accept",
            "ip6 saddr @peers_v6 tcp dport 50051-50053 accept",
            "ip saddr @clients_v4 tcp dport 50051-50053 accept",
            "ip6 saddr @clients_v6 tcp dport 50051-50053 accept",
            "elements = { 10.0.0.0/8, 10.1.0.0/16, 192.0.2.9/32 }",
            "elements = { ::/0 }",
        ] {
            assert!(text.lines().any(|found| found.trim() == line), "{line:?} is missing:\n{text}");
        }
    }

    #[test]
    fn names_are_resolved_and_named() {
        let text = rules(["localhost", "10.0.0.2", "10.0.0.3"], &[]);
        assert!(text.contains("localhost, which was 127.0.0.1"), "{text}");
        assert!(text.contains("again when a name moves"), "{text}");
        let peers = [("node-a", "nowhere.invalid"), ("node-b", "10.0.0.2"), ("node-c", "10.0.0.3")]
            .map(|(id, host)| (id.parse().expect("a node"), host.parse().expect("a host")));
        let failure = resolve(&Peers::new(peers).expect("three members")).map(drop).expect_err("no such name");
        assert!(format!("{failure:?}").contains("PEERS_NODE_A: cannot find the address of nowhere.invalid"));
    }

    #[test]
    fn blocks_are_read_exactly() {
        assert_eq!(parse_block("::ffff:10.0.0.1").map(|block| block.to_string()), Ok("10.0.0.1/32".into()));
        assert!(parse_block("10.0.0.5/8").is_err_and(|error| error.contains("use 10.0.0.0/8")));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "a.example", "10.0.0.0/-1", "10.0.0.0/8; flush"] {
            assert!(parse_block(wrong).is_err(), "{wrong:?} must be refused");
        }
    }
}
