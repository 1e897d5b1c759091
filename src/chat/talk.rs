//! What people do that programs do not: come back by name, go from room to room, see events again.

use std::ops::Range;

use super::caller::Caller;
use super::commands::{CommandResult, Place, check_no_session, member_line, session_of};
use super::event_log::EventLog;
use super::ids::SessionKey;
use super::keys::KeyHash;
use super::life::OwedEvents;
use super::notice::Notice;
use super::owed::loss_at;
use super::{Chat, by_name};
use crate::protocol::{
    Alive, Bye, Earlier, Entered, Error, Join, LeaveReason, Listing, Mode, NAME_BYTES_MAX, Name,
    Numbered, Reply, TALK_HISTORY_DEFAULT, Talk,
};
use crate::talk::{COMMANDS, Form, LocalClock, Viewer};
use crate::time::Now;

/// How many columns of names a person sees who enters a room: with what stands around them, they fit on
/// a line.
const NAMES_COLUMNS: usize = 54;
/// What may follow a name there: a comma, a space, and for how long somebody has been away.
const AWAY_COLUMNS: usize = ", (away 3600 s)".len();

impl Chat {
    /// Gives a person a session in talk form: their own, if they come back, or a new one.
    pub(super) fn talk<'a>(
        &mut self,
        caller: &mut Caller,
        talk: Talk<'_>,
        now: Now,
        replaced: &mut Option<Notice>,
    ) -> CommandResult<'a> {
        check_no_session(caller)?;
        let join = Join {
            name: talk.name,
            room: talk.room,
            mode: Mode::Push,
            idle_s: talk.idle_s,
            alive: Alive::Tcp,
            history: talk.history,
            since: None,
            is_quiet: false,
            key: talk.key,
        };
        self.check_key_of(caller, &join, now)?;
        let room_key = self.room_named(talk.room);
        let namesake = room_key.and_then(|room| self.member_named(room, talk.name));
        if let Some(key) = namesake.filter(|&key| !self.is_revoked(key)) {
            let own_key = self.own_key(&join);
            if !self.may_come_back(caller, key, own_key.as_deref()) {
                return Err(self.name_taken(key, now));
            }
            return Ok(self.come_back(caller, key, &join, now, replaced));
        }
        let place = Place {
            room: room_key,
            namesake,
            left: None,
            after: None,
        };
        let form = std::mem::replace(&mut caller.form, Form::Talk);
        let key = self.begin(caller, &join, place, now, replaced);
        let (key, _) = key.inspect_err(|_| caller.form = form)?;
        Ok(self.entered(key, None, now))
    }

    /// Whether a session has lost the right to its name and is about to end: nobody comes back to it.
    fn is_revoked(&self, key: SessionKey) -> bool {
        self.sessions[key.index()].is_revoked
    }

    /// Whether a connection may take over a session: with its key, whose hash is `key`, or if it is a
    /// person's that was begun without one, is detached, and came from the same place.
    fn may_come_back(&self, caller: &Caller, session: SessionKey, key: Option<&KeyHash>) -> bool {
        if self.has_key_of(session, key) {
            return true;
        }
        let session = &self.sessions[session.index()];
        let has_connection = session.attachment.as_ref().is_some_and(|a| !a.is_gone);
        let is_left_behind = session.is_talk && !has_connection;
        let has_no_key = session.key.is_none() && key.is_none();
        is_left_behind && has_no_key && session.origin == caller.origin
    }

    /// Attaches a person's connection to the session that they had. The room sees nothing of it.
    fn come_back<'a>(
        &mut self,
        caller: &mut Caller,
        key: SessionKey,
        join: &Join<'_>,
        now: Now,
        replaced: &mut Option<Notice>,
    ) -> Reply<'a> {
        if let Some(goodbye) = self.goodbye_notice(key, Bye::Replaced, OwedEvents::Kept, now) {
            self.detach(key, now);
            *replaced = Some(goodbye);
        }
        let idle_s = self.limits.granted_idle_s(join);
        let session = &mut self.sessions[key.index()];
        if let Some(linked) = &mut self.rooms[session.room.index()].link {
            linked.roster_hash.remove(session.name, session.mode);
            linked.roster_hash.add(session.name, join.mode);
        }
        session.mode = join.mode;
        session.alive = join.alive;
        session.is_talk = true;
        if join.idle_s.is_some() || session.idle_s < idle_s {
            session.idle_s = idle_s;
        }
        caller.form = Form::Talk;
        self.attach(caller, key, now);
        let missed = self.missed(key);
        self.entered(key, Some(missed), now)
    }

    /// How many events a person who has come back sees, or learns to be gone. If nothing has happened
    /// since they came first, the newest event is their own coming, which is not shown.
    fn missed(&mut self, key: SessionKey) -> u64 {
        let session = &mut self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        let held = log.count(session.cursor, log.next());
        let missed = held + log.first().saturating_sub(session.cursor);
        if held == 0 {
            return missed;
        }
        // It may have a gap behind it.
        let newest = read_event(log, log.before(log.next(), 1), &mut self.line);
        let name = session.name;
        let viewer = session.attached_mut().talk_mut().viewer;
        missed - u64::from(viewer.is_own(name, &newest))
    }

    /// Moves a person to another room, under the same name and key. If that is refused, they stay
    /// where they are.
    pub(super) fn enter<'a>(
        &mut self,
        caller: &mut Caller,
        room: Name,
        now: Now,
        replaced: &mut Option<Notice>,
    ) -> CommandResult<'a> {
        let key = session_of(caller)?;
        let room_key = self.room_named(room);
        let (session, old_room) = self.session_and_room(key);
        let (name, idle_s) = (session.name, session.idle_s);
        if room_key == Some(session.room) {
            return Err(Error::InRoom {
                room: old_room.name,
            });
        }
        let join = Join {
            name,
            room,
            mode: Mode::Push,
            idle_s: Some(idle_s),
            alive: Alive::Tcp,
            history: TALK_HISTORY_DEFAULT,
            since: None,
            is_quiet: false,
            key: None,
        };
        let own_key = self.sessions[key.index()].key.clone();
        let namesake = room_key.and_then(|room| self.member_named(room, name));
        if let Some(other) = namesake.filter(|&other| !self.is_revoked(other)) {
            if !self.may_come_back(caller, other, own_key.as_deref()) {
                return Err(self.name_taken(other, now));
            }
            self.destroy(key, LeaveReason::Left, now);
            return Ok(self.come_back(caller, other, &join, now, replaced));
        }
        let place = Place {
            room: room_key,
            namesake,
            left: Some(key),
            after: None,
        };
        let (key, _) = self.begin(caller, &join, place, now, replaced)?;
        self.sessions[key.index()].key = own_key;
        Ok(self.entered(key, None, now))
    }

    /// What the word before the cursor can be completed to with TAB: the names of members of the
    /// person's room and the commands that begin with it. There are at most `most` members of each box.
    pub fn completions(&self, session: Option<SessionKey>, word: &str, most: usize) -> Vec<String> {
        let begins = |name: &str| {
            let beginning = name.get(..word.len());
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(word))
        };
        let commands = COMMANDS.into_iter().filter(|command| begins(command));
        let mut found: Vec<String> = commands.map(str::to_owned).collect();
        // Names are sorted, and none is before what it begins with.
        let first = Name::parse(word.split('@').next().unwrap_or(word));
        if let Some((key, first)) = session.zip(first) {
            let (session, room) = self.session_and_room(key);
            let place = by_name(&self.sessions, first);
            let others = room.members.keys_after(Some(&place)).0;
            let names = room.members.get(&place).into_iter().chain(others);
            let names = names.map(|key| self.sessions[key as usize].name.as_str());
            let names = names.take_while(|name| begins(name)).take(most);
            found.extend(names.map(str::to_owned));
            for remote in self.remote_in(session.room) {
                let members = remote.roster.from(first.folded()).iter();
                let names = members.map(|member| format!("{}@{}", member.name, remote.name));
                found.extend(names.take_while(|name| begins(name)).take(most));
            }
        }
        found
    }

    /// What a person sees first: who they are, where, and who else is there.
    fn entered<'a>(&self, key: SessionKey, missed: Option<u64>, now: Now) -> Reply<'a> {
        let (session, room) = self.session_and_room(key);
        // The newest event is their own coming, which is not shown.
        let earlier = missed.is_none().then(|| Earlier {
            shown: room.log.count(session.cursor, room.newest()),
            held: room.log.count(room.log.first(), room.newest()),
        });
        let mut others = Listing::default();
        let remote = self.remote_members(session.room);
        let count = room.members.len() as u64 + remote;
        // Those who are there are named first.
        let members = |is_there: bool| {
            let (keys, _) = room.members.keys_after(None);
            let others = keys.filter(|&other| other != key.0);
            let others = others.map(|other| &self.sessions[other as usize]);
            others.filter(move |member| member.conn().is_some() == is_there)
        };
        for member in members(true).chain(members(false)) {
            let columns = others.text().len() + member.name.as_str().len() + AWAY_COLUMNS;
            if columns > NAMES_COLUMNS {
                break;
            }
            others.add_written(|out| Form::Talk.write(&member_line(member, now), out));
        }
        for line in self.remote_members_after(session.room, None, now) {
            let columns = others.text().len() + NAME_BYTES_MAX + AWAY_COLUMNS;
            if columns > NAMES_COLUMNS {
                break;
            }
            others.add_written(|out| Form::Talk.write(&line, out));
        }
        Reply::Entered(Entered {
            name: session.name,
            room: room.name,
            more: count - 1 - others.lines(),
            others,
            missed,
            earlier: earlier.filter(|earlier| (1..earlier.held).contains(&earlier.shown)),
        })
    }

    /// Shows a person the newest events that they have seen once more, with their dates.
    pub(super) fn again<'a>(&mut self, caller: &Caller, events: u64) -> CommandResult<'a> {
        let key = session_of(caller)?;
        let session = &self.sessions[key.index()];
        let room = &self.rooms[session.room.index()];
        let mut list = Listing::default();
        let Some(talk) = session.attachment.as_ref().and_then(|a| a.talk.as_ref()) else {
            return Ok(Reply::Again { events: list });
        };
        let viewer = talk.viewer.who_sees_all();
        let (log, cursor) = (&room.log, session.cursor);
        let earliest = log.before(cursor, events);
        let newest = log.before(cursor, 1).max(earliest);
        let mut from = log.fit_back(earliest, cursor, Listing::BYTES_MAX);
        from = from.min(newest);
        while !show_all(viewer, log, from..cursor, &mut self.local, &mut list) {
            list = Listing::default();
            if from == newest {
                // A single event may be longer than a reply.
                show_one(viewer, log, from, &mut self.local, &mut list);
                break;
            }
            // Dates have taken space as well.
            from = log.before(cursor, log.count(from, cursor) * 3 / 4);
        }
        Ok(Reply::Again { events: list })
    }
}

/// Shows a person these events; false if they do not all fit.
fn show_all(
    mut viewer: Viewer,
    log: &EventLog,
    events: Range<u64>,
    clock: &mut LocalClock,
    list: &mut Listing,
) -> bool {
    let mut scratch = Vec::new();
    let mut seq = log.next_held(events.start);
    let mut loss = None;
    while seq < events.end {
        let numbered = read_event(log, seq, &mut scratch);
        let fits = list.add_written(|out| {
            if let Some(loss) = &loss {
                Form::Talk.write(loss, out);
            }
            viewer.show(&numbered, clock, out);
        });
        if !fits {
            return false;
        }
        loss = loss_at(log, seq + 1);
        seq = log.next_held(seq + 1);
    }
    true
}

/// Shows a person one event, however long it is.
fn show_one(
    mut viewer: Viewer,
    log: &EventLog,
    seq: u64,
    clock: &mut LocalClock,
    list: &mut Listing,
) {
    let (mut scratch, mut shown) = (Vec::new(), Vec::new());
    let numbered = read_event(log, seq, &mut scratch);
    viewer.show(&numbered, clock, &mut shown);
    list.add_lines(1, [&shown, &[]]);
}

/// Reads an event from a log. `scratch` is for one that goes around the ring.
pub(super) fn read_event<'a>(
    log: &'a EventLog,
    seq: u64,
    scratch: &'a mut Vec<u8>,
) -> Numbered<'a> {
    let line = match log.range(seq, seq + 1) {
        [line, []] | [[], line] => line,
        [head, tail] => {
            scratch.clear();
            scratch.extend_from_slice(head);
            scratch.extend_from_slice(tail);
            scratch
        }
    };
    let line = std::str::from_utf8(line).expect("messages are checked to be UTF-8");
    Numbered::read(line).expect("the core wrote it")
}
