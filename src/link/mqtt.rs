//! Packets of MQTT 3.1.1, as much of it as the link uses: messages with QoS 0, nothing retained, a
//! clean session, and a will. Sections and statements are those of the OASIS standard.

use std::fmt;

use crate::protocol::append_text;

/// The first bytes of the packets that the server writes: the packet's type and its flags (2.2).
const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const UNSUBSCRIBE: u8 = 0xa2;
const PINGREQ: u8 = 0xc0;
const DISCONNECT: u8 = 0xe0;

/// The first bytes of the packets that the server reads, besides PUBLISH.
const CONNACK: u8 = 0x20;
const SUBACK: u8 = 0x90;
const UNSUBACK: u8 = 0xb0;
const PINGRESP: u8 = 0xd0;

/// The flag of a PUBLISH that answers a subscription with a message from before it (3.3.1.3).
const RETAIN: u8 = 0x01;

/// The bytes that each carry 7 bits of a packet's length, the last one below 0x80 (2.2.3).
const LENGTH_BYTES_MAX: usize = 4;

/// A packet from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The answer to CONNECT (3.2).
    ConnAck {
        /// 0 if the broker accepts the connection.
        code: u8,
    },
    /// The answer to SUBSCRIBE (3.9).
    SubAck {
        /// The number of the SUBSCRIBE.
        id: u16,
        /// One for each filter; from 0x80 on the broker refuses it.
        codes: &'a [u8],
    },
    /// The answer to UNSUBSCRIBE (3.11).
    UnsubAck,
    /// A message (3.3).
    Publish {
        /// Its topic.
        topic: &'a str,
        /// What it says.
        payload: &'a [u8],
    },
    /// The answer to a ping: PINGRESP (3.13).
    Pong,
}

/// What a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// A whole packet.
    Packet {
        /// The packet.
        packet: Packet<'a>,
        /// How many bytes of the stream it takes.
        bytes: usize,
    },
    /// A packet that does not count: it is too long, or the broker had retained the message, so that
    /// it is from some time ago and comes again with each subscription.
    Skip {
        /// How many bytes of the stream it takes, of which some may still have to come.
        bytes: usize,
    },
    /// Less than a packet.
    Incomplete,
}

/// Why a stream is not that of a broker. Nothing after that can be read, so the connection has to be
/// closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Reads the packet at the beginning of a stream. Skips one that takes more than `bytes_max`.
///
/// # Errors
///
/// If the stream is not that of a broker.
pub fn read(bytes: &[u8], bytes_max: usize) -> Result<Read<'_>, Malformed> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(Read::Incomplete);
    };
    let kind = match first {
        CONNACK | SUBACK | UNSUBACK | PINGRESP => first,
        _ if first & !RETAIN == PUBLISH => PUBLISH,
        _ => return Err(Malformed("a packet is none that a broker sends")),
    };
    let Some((length, header)) = read_length(rest)? else {
        return Ok(Read::Incomplete);
    };
    let is_possible = match kind {
        CONNACK | UNSUBACK => length == 2,
        PINGRESP => length == 0,
        SUBACK => length > 2,
        _ => length >= 2,
    };
    if !is_possible {
        return Err(Malformed("a packet has an impossible length"));
    }
    let bytes = 1 + header + length;
    if bytes > bytes_max || first == PUBLISH | RETAIN {
        return Ok(Read::Skip { bytes });
    }
    let Some(body) = rest.get(header..header + length) else {
        return Ok(Read::Incomplete);
    };
    let packet = match (kind, body) {
        (CONNACK, &[flags, code]) if flags & !1 == 0 => Packet::ConnAck { code },
        (SUBACK, &[high, low, ref codes @ ..]) => Packet::SubAck {
            id: u16::from_be_bytes([high, low]),
            codes,
        },
        (UNSUBACK, _) => Packet::UnsubAck,
        (PINGRESP, _) => Packet::Pong,
        (PUBLISH, &[high, low, ref rest @ ..]) => {
            let length = u16::from_be_bytes([high, low]).into();
            let Some((topic, payload)) = rest.split_at_checked(length) else {
                return Err(Malformed("a topic is longer than its packet"));
            };
            let Ok(topic) = std::str::from_utf8(topic) else {
                return Err(Malformed("a topic is not UTF-8"));
            };
            Packet::Publish { topic, payload }
        }
        _ => return Err(Malformed("a packet has reserved flags")),
    };
    Ok(Read::Packet { packet, bytes })
}

/// Reads how many bytes a packet has behind its length, and how many the length itself takes; `None`
/// if there are not enough of those.
fn read_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for (at, &byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Ok(Some((length, at + 1)));
        }
    }
    match bytes.len() < LENGTH_BYTES_MAX {
        true => Ok(None),
        false => Err(Malformed("a packet's length does not end")),
    }
}

/// The first packet on a connection (3.1). No text in it is as long as 64 KB.
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    /// Which client it is: the broker closes an older connection of the same one.
    pub client_id: &'a str,
    /// The broker closes a connection on which nothing comes for one and a half times as long, in
    /// seconds.
    pub keep_alive_s: u16,
    /// A user and their password.
    pub login: Option<(&'a str, &'a str)>,
    /// The topic of the will.
    pub will_topic: &'a str,
    /// What the broker publishes when the connection ends without a DISCONNECT.
    pub will: &'a str,
}

impl Connect<'_> {
    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        const LEVEL: u8 = 4;
        const CLEAN_SESSION: u8 = 0x02;
        const WILL: u8 = 0x04;
        const LOGIN: u8 = 0xc0;
        let flags = match self.login {
            Some(_) => CLEAN_SESSION | WILL | LOGIN,
            None => CLEAN_SESSION | WILL,
        };
        let start = begin(CONNECT, out);
        write_text(format_args!("MQTT"), out);
        out.extend_from_slice(&[LEVEL, flags]);
        out.extend_from_slice(&self.keep_alive_s.to_be_bytes());
        let (user, password) = self.login.unzip();
        let texts = [Some(self.client_id), Some(self.will_topic), Some(self.will)];
        for text in texts.into_iter().chain([user, password]).flatten() {
            write_text(format_args!("{text}"), out);
        }
        finish(start, out);
    }
}

/// Appends a SUBSCRIBE (3.8), which asks for the messages of topics that match one of the filters, at
/// least one.
pub fn write_subscribe(id: u16, filters: &[String], out: &mut Vec<u8>) {
    write_filters(SUBSCRIBE, id, filters, out);
}

/// Appends an UNSUBSCRIBE (3.10), which ends the subscriptions to these filters, at least one.
pub fn write_unsubscribe(id: u16, filters: &[String], out: &mut Vec<u8>) {
    write_filters(UNSUBSCRIBE, id, filters, out);
}

fn write_filters(kind: u8, id: u16, filters: &[String], out: &mut Vec<u8>) {
    const QOS: u8 = 0;
    let start = begin(kind, out);
    out.extend_from_slice(&id.to_be_bytes());
    for filter in filters {
        write_text(format_args!("{filter}"), out);
        if kind == SUBSCRIBE {
            out.push(QOS);
        }
    }
    finish(start, out);
}

/// Appends a message (3.3) with QoS 0.
pub fn write_publish(topic: fmt::Arguments<'_>, payload: fmt::Arguments<'_>, out: &mut Vec<u8>) {
    let start = begin(PUBLISH, out);
    write_text(topic, out);
    append_text(out, payload);
    finish(start, out);
}

/// Appends a ping: PINGREQ (3.12).
pub fn write_ping(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PINGREQ, 0]);
}

/// Appends a DISCONNECT (3.14), after which the broker forgets the will.
pub fn write_disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[DISCONNECT, 0]);
}

/// Begins a packet with its first byte and space for its length, and returns where it begins.
fn begin(kind: u8, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[kind, 0]);
    start
}

/// Writes the length of a packet that has been appended.
fn finish(start: usize, out: &mut Vec<u8>) {
    let mut at = start + 1;
    let mut length = out.len() - at - 1;
    while length >= 0x80 {
        out.insert(at, length as u8 | 0x80);
        length >>= 7;
        at += 1;
    }
    out[at] = length as u8;
}

/// Appends a text behind its length (1.5.3).
fn write_text(text: fmt::Arguments<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    append_text(out, text);
    let length = u16::try_from(out.len() - start - 2).expect("no text is as long as 64 KB");
    out[start..start + 2].copy_from_slice(&length.to_be_bytes());
}
