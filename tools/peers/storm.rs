//! Many who come in all at once: how long that takes, who is not let in, and whether those who are
//! in are told of everybody who comes after them.

use tools::clock::Clock;
use tools::json::Object;
use tools::process::Process;

use crate::adapter::MARK;
use crate::clients::{Clients, Joined, Plan};
use crate::flood::GIVEN_UP;
use crate::probe::QueueLosses;

/// What a storm has come to.
pub struct Storm {
    plan: Plan,
    joined: Joined,
    losses: QueueLosses,
    cpu_ns: u64,
    told: Option<Told>,
}

/// How often somebody was told that somebody has come, where servers tell that.
struct Told {
    expected: u64,
    delivered: u64,
    seconds: f64,
}

/// Lets many in at once, and waits until everybody is told of it.
pub fn storm(clients: &mut Clients, process: &Process, plan: Plan) -> Result<Storm, String> {
    let mark = clients.adapter.joined_mark;
    clients.count_byte(mark.unwrap_or(MARK));
    let (losses, cpu_ns) = (QueueLosses::read()?, process.cpu_ns()?);
    let start = Clock::start();
    let mut marks = 0;
    let joined = clients.join(plan, |arrival| marks += arrival.marks)?;
    let expected = arrivals(plan.count, plan.rooms_of);
    let mut seconds = joined.seconds;
    // Each has one mark more, for its own coming.
    while mark.is_some() && marks < expected + joined.confirmed as u64 {
        let before = marks;
        clients.turn(GIVEN_UP, |arrival| marks += arrival.marks)?;
        if marks == before {
            break;
        }
        seconds = start.elapsed().as_secs_f64();
    }
    let losses = QueueLosses::read()?.since(losses);
    clients.settle()?;
    Ok(Storm {
        plan,
        joined,
        losses,
        cpu_ns: process.cpu_ns()? - cpu_ns,
        told: mark.map(|_| Told {
            expected,
            delivered: marks.saturating_sub(joined.confirmed as u64),
            seconds,
        }),
    })
}

/// How often somebody is told that somebody has come, if each is told of itself and of all that
/// come into its room after it.
fn arrivals(count: usize, rooms_of: usize) -> u64 {
    let in_room = |size: usize| (size * (size + 1) / 2) as u64;
    (count / rooms_of) as u64 * in_room(rooms_of) + in_room(count % rooms_of)
}

impl Storm {
    /// Adds it to a report.
    pub fn report(&self, report: &mut Object) {
        report
            .put("receivers", self.plan.count as u64)
            .put("rooms_of", self.plan.rooms_of as u64)
            .put("confirmed", self.joined.confirmed as u64)
            .put("refused", self.joined.refused as u64)
            .put("unconfirmed", self.joined.unconfirmed as u64)
            .decimal("seconds_confirmed", self.joined.seconds)
            .put("listen_overflows", self.losses.overflows)
            .put("listen_drops", self.losses.drops)
            .put("syn_queue_drops", self.losses.syn_drops)
            .decimal("cpu_ms", self.cpu_ns as f64 / 1e6);
        if let Some(told) = &self.told {
            report
                .put("joined_expected", told.expected)
                .put("joined_delivered", told.delivered)
                .decimal("seconds_delivered", told.seconds);
        }
    }
}
