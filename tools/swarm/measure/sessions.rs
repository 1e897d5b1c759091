//! Pull sessions that no connection holds: their names, rooms and tokens, how they come to be, and
//! how commands are sent for them. And push sessions with a connection each.

use tools::client::Client;

use crate::measure::server::Server;
use crate::token::Token;

/// Groups of commands that are sent at once: few enough to fit into what the system keeps for a
/// connection, so that neither side waits for the other to read.
pub const BLOCK: usize = 96;

/// An idle time in seconds that outlasts every measurement.
pub const IDLE_S: u64 = 86_400;

/// Sends groups of commands in blocks over several connections in turn, so that the server always
/// has something to do while one block is read. `write` appends the commands of a group, and `read`
/// reads their replies.
pub fn exchange(
    clients: &mut [Client],
    block: usize,
    count: usize,
    mut write: impl FnMut(usize, &mut Vec<u8>),
    mut read: impl FnMut(usize, &mut Client) -> Result<(), String>,
) -> Result<(), String> {
    let mut out = Vec::new();
    let (ahead, blocks) = (clients.len(), count.div_ceil(block));
    let groups = |at: usize| at * block..count.min((at + 1) * block);
    for at in 0..blocks + ahead {
        let client = &mut clients[at % ahead];
        if let Some(sent) = at.checked_sub(ahead) {
            groups(sent).try_for_each(|index| read(index, client))?;
        }
        if at < blocks {
            out.clear();
            groups(at).for_each(|index| write(index, &mut out));
            client.send(&out)?;
        }
    }
    Ok(())
}

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

/// Appends a JOIN and a DETACH.
pub fn write_join(number: usize, room: usize, idle_s: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"JOIN ");
    write_name(number, out);
    out.extend_from_slice(b" room=");
    write_name(room, out);
    out.extend_from_slice(format!(" mode=pull idle={idle_s}\nDETACH\n").as_bytes());
}

/// Reads the reply to a JOIN.
pub fn read_join(client: &mut Client) -> Result<Token, String> {
    let rest = client.expect("OK JOIN session=")?;
    let digits = rest.split(' ').next().unwrap_or_default();
    Token::parse(digits.as_bytes()).ok_or_else(|| format!("the server said 'session={rest}'"))
}

/// Connections that have joined with a push session each, room by room.
pub fn attach(server: &Server, count: usize, room_size: usize) -> Result<Vec<Client>, String> {
    let mut clients = Vec::with_capacity(count);
    let mut line = Vec::new();
    for number in 0..count {
        let mut client = server.connect()?;
        line.clear();
        line.extend_from_slice(b"JOIN ");
        write_name(number, &mut line);
        line.extend_from_slice(b" room=");
        write_name(number / room_size, &mut line);
        line.push(b'\n');
        client.send(&line)?;
        read_join(&mut client)?;
        client.expect("JOINED ")?;
        clients.push(client);
    }
    Ok(clients)
}

/// Sessions in rooms of one size, round robin.
pub struct Sessions {
    pub tokens: Vec<Token>,
    /// The number of each room's newest event.
    pub newest: Vec<u32>,
}

impl Sessions {
    /// `count` sessions that JOIN and DETACH, in rooms of `room_size`. Each asks for the idle time
    /// that `idle_s` gives.
    pub fn build(
        clients: &mut [Client],
        count: usize,
        room_size: usize,
        mut idle_s: impl FnMut(usize) -> u64,
    ) -> Result<Sessions, String> {
        let rooms = count.div_ceil(room_size);
        let mut tokens = Vec::with_capacity(count);
        let mut newest = vec![0; rooms];
        exchange(
            clients,
            BLOCK,
            count,
            |index, out| write_join(index, index % rooms, idle_s(index), out),
            |index, client| {
                tokens.push(read_join(client)?);
                newest[index % rooms] += 1;
                client.expect("OK DETACH").map(|_| ())
            },
        )?;
        Ok(Sessions { tokens, newest })
    }

    pub fn room_of(&self, session: usize) -> usize {
        session % self.newest.len()
    }
}
