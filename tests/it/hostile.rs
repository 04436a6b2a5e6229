//! A hostile client: many connections, from addresses of its choice, that do as little as possible. Everything goes to
//! loopback and is bounded by its caller.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

/// A client that is told apart by its address: the whole of 127.0.0.0/8 is this machine.
pub fn client(number: u8) -> IpAddr {
    IpAddr::from([127, 9, 9, number])
}

/// Connects from an address of the caller's choice.
pub fn connect_from(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SockAddr::from(SocketAddr::new(from, 0)))?;
    socket.connect_timeout(&SockAddr::from(to), Duration::from_secs(5))?;
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(Duration::from_mins(1)))?;
    Ok(socket)
}

/// Opens `count` connections from one address, each of which says `first` and then nothing. Connections that the node
/// refuses are left out.
pub fn crowd(from: IpAddr, to: SocketAddr, count: usize, first: &[u8]) -> Vec<TcpStream> {
    allow_descriptors();
    let open = |_| {
        let mut socket = connect_from(from, to).ok()?;
        socket.write_all(first).ok()?;
        Some(socket)
    };
    (0..count).filter_map(open).collect()
}

/// Raises this process's soft limit of descriptors to its hard one.
pub fn allow_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// CPU time that a process has used so far, in user and kernel mode.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}
