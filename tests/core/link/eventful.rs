//! A linked box to which much has happened, and its states: the same bytes each time.

use chinwag::chat::Kind;
use chinwag::protocol::{LifeId, Limits};

use super::boxes::{Boxes, Setup};
use crate::eventful::with_known_tokens;
use crate::members::limits;
use crate::world::{UNIX_MS, World};

const ATTIC: usize = 0;
const CELLAR: usize = 1;
const BARN: usize = 2;

/// How long boxes take at most to meet, and to miss one that is gone.
const MEETING_MS: u64 = 10_000;

fn setup(name: &'static str) -> Setup {
    Setup {
        limits: Limits {
            keep_rooms_s: 0,
            ..limits()
        },
        ..Setup::new(name, &["*"])
    }
}

/// The box, as it is before it begins with a state.
pub fn linked_world() -> World {
    let setup = setup("attic");
    World::linked(setup.limits(), LifeId::new(1), UNIX_MS, setup.settings())
}

/// The state of a kind that the box leaves. It has freed a room, it has lost a box, and it has an event of
/// another one that came too early.
pub fn linked_state(kind: Kind) -> Vec<u8> {
    let mut boxes = Boxes::new();
    for name in ["attic", "cellar", "barn"] {
        boxes.start(setup(name));
    }
    let members = [
        (ATTIC, "ann"),
        (CELLAR, "bob"),
        (CELLAR, "cat mode=pull"),
        (BARN, "dan"),
        (ATTIC, "joe room=den"),
    ]
    .map(|(index, join)| {
        let peer = boxes.connect(index);
        let room = match join.contains("room=") {
            true => "",
            false => " room=kitchen",
        };
        boxes.ask(index, &peer, &format!("JOIN {join}{room} idle=600"));
        (index, peer)
    });
    boxes.advance(MEETING_MS);
    for (index, peer) in &members {
        boxes.ask(*index, peer, "SAY hello");
    }
    let [_, (_, bob), .., (_, joe)] = &members;
    boxes.ask(ATTIC, joe, "QUIT");
    boxes.crash(BARN);
    boxes.advance(MEETING_MS);
    boxes.broker.block(CELLAR, ATTIC);
    boxes.ask(CELLAR, bob, "SAY this comes late");
    boxes.run();
    boxes.broker.unblock();
    boxes.ask(CELLAR, bob, "SAY this comes early");
    boxes.run();
    let now = boxes.tell_time(ATTIC);
    let world = &mut boxes.boxes[ATTIC].world;
    if kind == Kind::Stop {
        world.hub.leave_broker(true, now);
        world.hub.shut_down(now);
        world.run();
    }
    with_known_tokens(&world.save(kind))
}
