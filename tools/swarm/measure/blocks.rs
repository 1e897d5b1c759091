//! Many commands on a few connections, one at a time or in blocks.

use tools::client::Client;

/// Commands or groups of them that are sent at once: few enough to fit into what the system
/// keeps for a connection, so that neither side waits for the other to read.
const BLOCK: usize = 96;

/// What is sent and received group by group.
pub trait Work {
    /// Appends the commands of group number `index`.
    fn write(&mut self, index: usize, out: &mut Vec<u8>);
    /// Reads the replies to group number `index`.
    fn read(&mut self, index: usize, client: &mut Client) -> Result<(), String>;
}

/// Does work in blocks over several connections in turn, so that the server always has something
/// to do while one block is read.
pub fn in_blocks(clients: &mut [Client], count: usize, work: &mut impl Work) -> Result<(), String> {
    let mut out = Vec::new();
    let (ahead, blocks) = (clients.len(), count.div_ceil(BLOCK));
    let groups = |block: usize| block * BLOCK..count.min((block + 1) * BLOCK);
    for block in 0..blocks + ahead {
        let client = &mut clients[block % ahead];
        if let Some(sent) = block.checked_sub(ahead) {
            for index in groups(sent) {
                work.read(index, client)?;
            }
        }
        if block < blocks {
            out.clear();
            for index in groups(block) {
                work.write(index, &mut out);
            }
            client.send(&out)?;
        }
    }
    Ok(())
}

/// Does work one group of commands at a time.
pub fn one_by_one(client: &mut Client, count: usize, work: &mut impl Work) -> Result<(), String> {
    let mut out = Vec::new();
    for index in 0..count {
        out.clear();
        work.write(index, &mut out);
        client.send(&out)?;
        work.read(index, client)?;
    }
    Ok(())
}
