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
        /// One for each filter; 0x80 if the broker refuses it.
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
    /// A packet that does not count: it is too long, its topic is no text, or the broker had retained the
    /// message, so that it is from some time ago and comes again with each subscription.
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
        _ => return Err(Malformed("a broker sends no such packet")),
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
        // The number of the SUBSCRIBE comes first.
        (SUBACK, &[_, _, ref codes @ ..]) => Packet::SubAck { codes },
        (UNSUBACK, _) => Packet::UnsubAck,
        (PINGRESP, _) => Packet::Pong,
        (PUBLISH, &[high, low, ref rest @ ..]) => {
            let length = u16::from_be_bytes([high, low]).into();
            let Some((topic, payload)) = rest.split_at_checked(length) else {
                return Err(Malformed("a topic is longer than its packet"));
            };
            // Whoever publishes under such a topic cuts nobody off.
            let Ok(topic) = std::str::from_utf8(topic) else {
                return Ok(Read::Skip { bytes });
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

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 4096;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        write(&mut out);
        out.split_off("before".len())
    }

    /// A message on the topic `t`.
    fn publish(payload: &str) -> Vec<u8> {
        written(|out| write_publish(format_args!("t"), format_args!("{payload}"), out))
    }

    /// The length of a packet, as it is written, and the bytes of that.
    fn length_of(packet: &[u8]) -> (usize, &[u8]) {
        let end = packet[1..].iter().position(|byte| *byte < 0x80).unwrap() + 2;
        (packet.len() - end, &packet[1..end])
    }

    #[track_caller]
    fn assert_malformed(bytes: &[u8], why: &str) {
        let Malformed(found) = read(bytes, BYTES_MAX).unwrap_err();
        assert!(found.contains(why), "{bytes:x?}: {found}");
    }

    /// 3.1: the first bytes of the variable header are those of the example in 3.1.2.12, but that the
    /// will has QoS 0.
    #[test]
    fn a_connect_has_the_bytes_of_the_standard() {
        let connect = Connect {
            client_id: "attic-0",
            keep_alive_s: 10,
            login: Some(("ann", "")),
            will_topic: "c/attic/gone",
            will: "GONE",
        };
        let mut expected = vec![0x10, 0x2e, 0, 4, b'M', b'Q', b'T', b'T', 4, 0xc6, 0, 10];
        expected.extend_from_slice(b"\0\x07attic-0\0\x0cc/attic/gone\0\x04GONE\0\x03ann\0\0");
        assert_eq!(written(|out| connect.write(out)), expected);

        let connect = Connect {
            login: None,
            ..connect
        };
        expected.truncate(expected.len() - 7);
        expected[1] -= 7;
        expected[9] = 0x06;
        assert_eq!(written(|out| connect.write(out)), expected);
    }

    /// 3.8 and 3.10, with the filters of the examples in 3.8.3 and 3.10.3.
    #[test]
    fn subscriptions_have_the_bytes_of_the_standard() {
        let filters = ["a/b".to_owned(), "c/d".to_owned()];
        assert_eq!(
            written(|out| write_subscribe(10, &filters, out)),
            b"\x82\x0e\0\x0a\0\x03a/b\0\0\x03c/d\0"
        );
        assert_eq!(
            written(|out| write_unsubscribe(0x1234, &filters, out)),
            b"\xa2\x0c\x12\x34\0\x03a/b\0\x03c/d"
        );
    }

    /// 1.5.3 (with the text of its example), 3.3, 3.12 and 3.14.
    #[test]
    fn messages_pings_and_goodbyes_have_the_bytes_of_the_standard() {
        let text = "A\u{2a6d4}";
        assert_eq!(
            written(|out| write_publish(format_args!("{text}"), format_args!("{}", 17), out)),
            b"\x30\x09\0\x05A\xf0\xaa\x9b\x9417"
        );
        assert_eq!(written(write_ping), b"\xc0\0");
        assert_eq!(written(write_disconnect), b"\xe0\0");
    }

    /// 2.2.3, table 2.4.
    #[test]
    fn lengths_take_as_many_bytes_as_in_the_standard() {
        let table: [(usize, &[u8]); 9] = [
            (3, &[0x03]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (321, &[0xc1, 0x02]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xff, 0xff, 0x7f]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (2_097_153, &[0x81, 0x80, 0x80, 0x01]),
        ];
        for (length, expected) in table {
            let payload = "x".repeat(length - 3);
            let packet = publish(&payload);
            assert_eq!(length_of(&packet), (length, expected));
            let publish = Packet::Publish {
                topic: "t",
                payload: payload.as_bytes(),
            };
            let bytes = packet.len();
            let whole = Read::Packet {
                packet: publish,
                bytes,
            };
            assert_eq!(read(&packet, bytes), Ok(whole));
            assert_eq!(read(&packet[..bytes - 1], bytes), Ok(Read::Incomplete));
            assert_eq!(read(&packet, bytes - 1), Ok(Read::Skip { bytes }));
        }
        // The longest length, and one byte more. A number that is longer than it has to be is valid.
        let bytes = 5 + 0x0fff_ffff;
        let skip = Ok(Read::Skip { bytes });
        assert_eq!(read(b"\x30\xff\xff\xff\x7f", BYTES_MAX), skip);
        assert_malformed(b"\x30\xff\xff\xff\xff", "length does not end");
        assert_malformed(b"\x30\x80\x80\x80\x80\x01", "length does not end");
        let pong = Read::Packet {
            packet: Packet::Pong,
            bytes: 5,
        };
        assert_eq!(read(b"\xd0\x80\x80\x80\x00", BYTES_MAX), Ok(pong));
    }

    /// Everything that a broker sends, packet by packet.
    fn from_broker() -> Vec<(&'static [u8], Option<Packet<'static>>)> {
        let codes = &[0, 2, 0x80];
        let suback = Packet::SubAck { codes };
        let message = |topic, payload| Some(Packet::Publish { topic, payload });
        vec![
            (b"\x20\x02\0\0", Some(Packet::ConnAck { code: 0 })),
            (b"\x20\x02\x01\x05", Some(Packet::ConnAck { code: 5 })),
            // The codes of the example in 3.9.3.
            (b"\x90\x05\x12\x34\0\x02\x80", Some(suback)),
            (b"\x30\x07\0\x03a/b\r\n", message("a/b", b"\r\n")),
            (b"\x30\x02\0\0", message("", b"")),
            (b"\x30\x06\0\x02\xc3\xa9\0\xff", message("é", b"\0\xff")),
            // It was retained.
            (b"\x31\x07\0\x03a/b\r\n", None),
            (b"\xb0\x02\0\x01", Some(Packet::UnsubAck)),
            (b"\xd0\0", Some(Packet::Pong)),
        ]
    }

    #[test]
    fn every_packet_is_read_once_it_is_whole() {
        for (stream, packet) in from_broker() {
            let bytes = stream.len();
            let expected = match packet {
                Some(packet) => Read::Packet { packet, bytes },
                None => Read::Skip { bytes },
            };
            for rest in [&b""[..], b"\x30", b"\xff\xff"] {
                let more = [stream, rest].concat();
                assert_eq!(read(&more, bytes), Ok(expected));
            }
            for end in 0..bytes {
                let found = read(&stream[..end], BYTES_MAX);
                let expected = match packet.is_none() && end > 1 {
                    true => expected,
                    false => Read::Incomplete,
                };
                assert_eq!(found, Ok(expected), "{:x?}", &stream[..end]);
            }
        }
    }

    #[test]
    fn a_stream_means_the_same_however_it_is_cut() {
        let packets: Vec<_> = from_broker().into_iter().map(|(bytes, _)| bytes).collect();
        let stream = packets.concat();
        for cut in 0..stream.len() {
            let (mut buffer, mut found) = (Vec::new(), Vec::new());
            for piece in [&stream[..cut], &stream[cut..]] {
                buffer.extend_from_slice(piece);
                while let Read::Packet { bytes, .. } | Read::Skip { bytes } =
                    read(&buffer, BYTES_MAX).unwrap()
                {
                    if bytes > buffer.len() {
                        break;
                    }
                    found.push(buffer.drain(..bytes).collect::<Vec<_>>());
                }
            }
            assert_eq!(found, packets, "cut at {cut}");
        }
    }

    #[test]
    fn a_packet_that_is_too_long_is_skipped_as_soon_as_its_length_is_there() {
        for first in [0x30, 0x90] {
            let header = [first, 0xe8, 0x07];
            assert_eq!(read(&header[..2], 1002), Ok(Read::Incomplete));
            assert_eq!(read(&header, 1002), Ok(Read::Skip { bytes: 1003 }));
            assert_eq!(read(&header, 1003), Ok(Read::Incomplete));
            assert_eq!(read(&header, 0), Ok(Read::Skip { bytes: 1003 }));
        }
    }

    /// 2.2.1, 2.2.2 (table 2.2) and 3.3.1.2: other types, flags that are reserved, and QoS that nobody
    /// asked for.
    #[test]
    fn a_first_byte_that_no_broker_sends_is_malformed() {
        let good = [0x20, 0x30, 0x31, 0x90, 0xb0, 0xd0];
        for first in 0..=u8::MAX {
            let expected = match good.contains(&first) {
                true => Ok(Read::Incomplete),
                false => Err(Malformed("a broker sends no such packet")),
            };
            assert_eq!(read(&[first], BYTES_MAX), expected);
        }
        assert_malformed(b"HTTP/1.1 400", "no such packet");
    }

    #[test]
    fn impossible_lengths_are_malformed() {
        for (kind, possible) in [
            (CONNACK, 2..=2),
            (SUBACK, 3..=9),
            (UNSUBACK, 2..=2),
            (PINGRESP, 0..=0),
            (PUBLISH, 2..=9),
        ] {
            for length in 0..10_u8 {
                let header = [kind, length];
                match possible.contains(&length) {
                    true => assert!(read(&header, BYTES_MAX).is_ok(), "{header:x?}"),
                    false => assert_malformed(&header, "impossible length"),
                }
            }
        }
    }

    #[test]
    fn impossible_packets_are_malformed() {
        // 3.2.2.1: only the lowest bit of the flags has a meaning.
        assert_malformed(b"\x20\x02\x02\0", "reserved flags");
        assert_malformed(b"\x30\x04\0\x03ab", "longer than its packet");
        assert_malformed(b"\x30\x04\xff\xffab", "longer than its packet");
        // A topic that is not UTF-8, and 1.5.3: no surrogates, as in its example. The broker should have
        // closed the connection of whoever published it.
        for packet in [
            &b"\x30\x04\0\x02\xc3\x28"[..],
            b"\x30\x05\0\x03\xed\xa0\x80",
        ] {
            let bytes = packet.len();
            assert_eq!(read(packet, 100), Ok(Read::Skip { bytes }));
        }
    }
}
