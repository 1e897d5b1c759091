//! What is particular to each protocol: how a client comes in, how that is confirmed, how something
//! is said, and how a sign of life is given. How much is sent, and when, is the same for all.
//!
//! A message carries exactly one [`MARK`], and nothing else that a server sends does, so deliveries
//! are counted without knowing the protocol.

/// The byte that only messages have, and each of them once: its last one.
pub const MARK: u8 = b'~';

/// What is said: 64 bytes in all scenarios.
pub const PAYLOAD: &[u8; 64] = b"The quick brown fox jumps over the lazy dog, sixty-four bytes.!~";

/// What a client sends when it is connected, and what the answer contains once it is in.
pub struct Opening {
    pub bytes: Vec<u8>,
    pub confirmation: &'static [u8],
}

/// One protocol.
pub trait Adapter {
    /// How a receiver comes into a room.
    fn join(&self, who: usize, room: usize) -> Opening;

    /// How somebody comes in who will say something in room 0.
    fn join_sender(&self) -> Opening;

    /// Says [`PAYLOAD`] in room 0.
    fn say(&self, out: &mut Vec<u8>);

    /// What to answer to a sign of life that the server asks for in `block`.
    fn keep_alive(&self, _block: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// A byte that a client is sent once for its own coming, and once for each that comes into its
    /// room from then on, itself included; if it is told of that.
    fn joined_mark(&self) -> Option<u8> {
        None
    }

    /// How many may be connecting at once without the server's queue of them, whose length is built
    /// in, being too short.
    fn joins_at_once(&self) -> usize {
        256
    }
}

/// The adapter of that name.
pub fn adapter(name: &str) -> Option<Box<dyn Adapter>> {
    Some(match name {
        "chinwag" => Box::new(Chinwag),
        "floor" => Box::new(Floor),
        "irc" => Box::new(Irc),
        "mqtt" => Box::new(Mqtt),
        "nats" => Box::new(Nats),
        "resp" => Box::new(Resp),
        _ => return None,
    })
}

/// The names of all adapters.
pub const NAMES: &str = "chinwag, floor, irc, mqtt, nats, resp";

struct Chinwag;

impl Adapter for Chinwag {
    fn join(&self, who: usize, room: usize) -> Opening {
        Opening {
            bytes: format!("JOIN n{who} room=r{room} idle=3600\r\n").into_bytes(),
            confirmation: b"OK JOIN",
        }
    }

    fn join_sender(&self) -> Opening {
        Opening {
            bytes: b"JOIN sender room=r0 idle=3600\r\n".to_vec(),
            confirmation: b"OK JOIN",
        }
    }

    fn say(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"SAY ");
        out.extend_from_slice(PAYLOAD);
        out.extend_from_slice(b"\r\n");
    }

    fn keep_alive(&self, block: &[u8]) -> Option<Vec<u8>> {
        contains(block, b"EXPIRING ").then(|| b"PING\r\n".to_vec())
    }

    fn joined_mark(&self) -> Option<u8> {
        // In `OK JOIN`, in `JOINED`, and nowhere else before somebody speaks.
        Some(b'J')
    }
}

struct Floor;

impl Adapter for Floor {
    fn join(&self, _who: usize, _room: usize) -> Opening {
        self.join_sender()
    }

    fn join_sender(&self) -> Opening {
        Opening {
            bytes: Vec::new(),
            confirmation: b"\n",
        }
    }

    fn say(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(PAYLOAD);
        out.extend_from_slice(b"\r\n");
    }
}

struct Irc;

impl Irc {
    fn open(nick: &str, room: usize) -> Opening {
        let bytes = format!("NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\nJOIN #r{room}\r\n");
        Opening {
            bytes: bytes.into_bytes(),
            // The end of the list of members.
            confirmation: b" 366 ",
        }
    }
}

impl Adapter for Irc {
    fn join(&self, who: usize, room: usize) -> Opening {
        Irc::open(&format!("n{who}"), room)
    }

    fn join_sender(&self) -> Opening {
        Irc::open("sender", 0)
    }

    fn say(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PRIVMSG #r0 :");
        out.extend_from_slice(PAYLOAD);
        out.extend_from_slice(b"\r\n");
    }

    fn keep_alive(&self, block: &[u8]) -> Option<Vec<u8>> {
        contains(block, b"PING :").then(|| b"PONG :here\r\n".to_vec())
    }

    fn joins_at_once(&self) -> usize {
        8
    }
}

struct Mqtt;

impl Mqtt {
    /// A string with its length before it.
    fn string(text: &str) -> Vec<u8> {
        let mut out = (text.len() as u16).to_be_bytes().to_vec();
        out.extend_from_slice(text.as_bytes());
        out
    }

    /// A packet, whose length has to fit into seven bits.
    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        assert!(body.len() < 128);
        let mut out = vec![kind, body.len() as u8];
        out.extend_from_slice(body);
        out
    }

    /// CONNECT with a clean session and no keep-alive.
    fn connect(client: &str) -> Vec<u8> {
        let mut body = Mqtt::string("MQTT");
        body.extend_from_slice(&[4, 2, 0, 0]);
        body.extend(Mqtt::string(client));
        Mqtt::packet(0x10, &body)
    }
}

impl Adapter for Mqtt {
    fn join(&self, who: usize, room: usize) -> Opening {
        let mut bytes = Mqtt::connect(&format!("n{who}"));
        let mut body = vec![0, 1];
        body.extend(Mqtt::string(&format!("r{room}")));
        body.push(0);
        bytes.extend(Mqtt::packet(0x82, &body));
        Opening {
            bytes,
            // SUBACK of packet 1, granted with QoS 0.
            confirmation: &[0x90, 3, 0, 1, 0],
        }
    }

    fn join_sender(&self) -> Opening {
        Opening {
            bytes: Mqtt::connect("sender"),
            // CONNACK, accepted.
            confirmation: &[0x20, 2, 0, 0],
        }
    }

    fn say(&self, out: &mut Vec<u8>) {
        let mut body = Mqtt::string("r0");
        body.extend_from_slice(PAYLOAD);
        out.extend(Mqtt::packet(0x30, &body));
    }

    fn joins_at_once(&self) -> usize {
        64
    }
}

struct Nats;

impl Adapter for Nats {
    fn join(&self, _who: usize, room: usize) -> Opening {
        let text = format!("CONNECT {{\"verbose\":false}}\r\nSUB r{room} 1\r\nPING\r\n");
        Opening {
            bytes: text.into_bytes(),
            confirmation: b"PONG",
        }
    }

    fn join_sender(&self) -> Opening {
        Opening {
            bytes: b"CONNECT {\"verbose\":false}\r\nPING\r\n".to_vec(),
            confirmation: b"PONG",
        }
    }

    fn say(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PUB r0 64\r\n");
        out.extend_from_slice(PAYLOAD);
        out.extend_from_slice(b"\r\n");
    }

    fn keep_alive(&self, block: &[u8]) -> Option<Vec<u8>> {
        contains(block, b"PING\r\n").then(|| b"PONG\r\n".to_vec())
    }
}

struct Resp;

impl Adapter for Resp {
    fn join(&self, _who: usize, room: usize) -> Opening {
        Opening {
            bytes: format!("SUBSCRIBE r{room}\r\n").into_bytes(),
            confirmation: b"subscribe\r\n",
        }
    }

    fn join_sender(&self) -> Opening {
        Opening {
            bytes: b"PING\r\n".to_vec(),
            confirmation: b"+PONG",
        }
    }

    fn say(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nr0\r\n$64\r\n");
        out.extend_from_slice(PAYLOAD);
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether `needle` is somewhere in `block`.
pub fn contains(block: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(block, needle).is_some()
}
