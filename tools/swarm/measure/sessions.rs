//! Who is in the crowd: names, rooms, tokens, and how a crowd is built.

use tools::client::Client;

use crate::measure::blocks::{Work, in_blocks};
use crate::measure::server::Server;

/// How many connections build a crowd and work on it.
const CONNECTIONS: usize = 4;
const TOKEN_BYTES: usize = 20;

/// An idle time in seconds that outlasts every measurement.
pub const IDLE: u64 = 86_400;

/// A session's token in the size that a crowd's memory allows.
pub type Token = [u8; TOKEN_BYTES];

/// Appends a name of 8 to 12 letters, another for each number below 300 million; those of
/// neighbours have nothing in common.
pub fn write_name(number: usize, out: &mut Vec<u8>) {
    const LETTERS: u64 = 26;
    const UNIQUE: u64 = LETTERS.pow(6);
    // A prime, so that no two numbers give the same six letters.
    let mixed = (number as u64 * 179_424_673 + 86_028_121) % UNIQUE;
    let more = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let letters = 8 + (more % 5) as u32;
    for place in 0..letters {
        let from = if place < 6 { mixed } else { more };
        let letter = from / LETTERS.pow(place % 6) % LETTERS;
        out.push(b'a' + letter as u8);
    }
}

/// Appends the words of a token as the protocol spells it.
pub fn write_token(token: &Token, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in token {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Reads the reply to a JOIN.
pub fn read_join(client: &mut Client) -> Result<Token, String> {
    let rest = client.expect("OK JOIN session=")?;
    let mut token = [0; TOKEN_BYTES];
    let digits = rest.as_bytes().get(..2 * TOKEN_BYTES);
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    for (place, pair) in digits.unwrap_or_default().chunks(2).enumerate() {
        let (high, low) = (digit(pair[0]), digit(pair[1]));
        let (Some(high), Some(low)) = (high, low) else {
            return Err(format!("the server said 'OK JOIN session={rest}'"));
        };
        token[place] = high << 4 | low;
    }
    Ok(token)
}

/// Pull sessions that are in rooms of one size, round robin, and that no connection holds.
pub struct Crowd {
    pub tokens: Vec<Token>,
    /// The number of each room's newest event.
    pub newest: Vec<u32>,
}

impl Crowd {
    pub fn room_of(&self, session: usize) -> usize {
        session % self.newest.len()
    }

    /// Has `count` sessions JOIN and DETACH, in rooms of `room_size`. Each asks for the idle time
    /// that `idle` gives.
    pub fn build(
        clients: &mut [Client],
        count: usize,
        room_size: usize,
        idle: impl FnMut(usize) -> u64,
    ) -> Result<Crowd, String> {
        let rooms = count.div_ceil(room_size);
        let mut building = Building {
            crowd: Crowd {
                tokens: Vec::with_capacity(count),
                newest: vec![0; rooms],
            },
            idle,
        };
        in_blocks(clients, count, &mut building)?;
        Ok(building.crowd)
    }
}

struct Building<F> {
    crowd: Crowd,
    idle: F,
}

/// Appends a JOIN and a DETACH.
pub fn write_join(number: usize, room: usize, idle: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"JOIN ");
    write_name(number, out);
    out.extend_from_slice(b" room=");
    write_name(room, out);
    out.extend_from_slice(format!(" mode=pull idle={idle}\nDETACH\n").as_bytes());
}

impl<F: FnMut(usize) -> u64> Work for Building<F> {
    fn write(&mut self, index: usize, out: &mut Vec<u8>) {
        let idle = (self.idle)(index);
        write_join(index, self.crowd.room_of(index), idle, out);
    }

    fn read(&mut self, index: usize, client: &mut Client) -> Result<(), String> {
        let token = read_join(client)?;
        client.expect("OK DETACH")?;
        self.crowd.tokens.push(token);
        let room = self.crowd.room_of(index);
        self.crowd.newest[room] += 1;
        Ok(())
    }
}

/// Connections to work with.
pub fn clients(server: &Server) -> Result<Vec<Client>, String> {
    (0..CONNECTIONS).map(|_| server.connect()).collect()
}
