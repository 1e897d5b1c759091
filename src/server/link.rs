//! Opens the stream to the broker.

use std::io;
use std::net::SocketAddrV6;

use mio::Registry;
use mio::net::{TcpStream, UnixStream};

use super::event_source::EventSource;
use crate::hub::Hub;
use crate::net::address::Address;
use crate::net::listener::index_of;
use crate::net::stream::Stream;
use crate::time::Now;

/// Opens a stream to the broker if it is time to, and lets the poll watch it. Nothing waits for the broker:
/// the stream may still be opening.
pub fn open_broker(hub: &mut Hub<Stream>, address: &Address, registry: &Registry, now: Now) {
    if !hub.wants_broker(now) {
        return;
    }
    let opened = open(address).and_then(|mut stream| {
        stream.register(registry, EventSource::Broker.into())?;
        Ok(stream)
    });
    match opened {
        Ok(stream) => hub.open_broker(stream, now),
        Err(error) => hub.fail_broker(&error, now),
    }
}

fn open(address: &Address) -> io::Result<Stream> {
    Ok(match address {
        Address::Tcp(address) => Stream::Tcp(without_delay(TcpStream::connect(*address)?)),
        Address::LinkLocal { address, interface } => {
            let index = index_of(interface)?;
            let address = SocketAddrV6::new(*address.ip(), address.port(), 0, index).into();
            Stream::Tcp(without_delay(TcpStream::connect(address)?))
        }
        Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
    })
}

/// Makes the system send each event at once. If it does not, they only come later.
fn without_delay(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    stream
}
