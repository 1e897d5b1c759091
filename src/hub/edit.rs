//! Editing lines for people at telnet: what the client has to agree to, and the keys that it sends.
//!
//! The server offers ECHO and SUPPRESS-GO-AHEAD, and asks for the size of the window (RFC 857, RFC 858,
//! RFC 1073). A client that agrees to both offers sends each key and shows only what the server sends.
//!
//! It also asks for BINARY (RFC 856), and does so whenever a person's client turns out to know telnet.
//! Without that, some clients drop the eighth bit of what is typed to find their own keys, and a part of
//! a letter becomes an interrupt. BINARY stays on when editing ends.

use std::num::NonZeroU16;

use super::Hub;
use crate::chat::{ConnEvent, ConnId, Input, Outcome, Permit};
use crate::hub::conn::{Conn, OUT_BYTES_ENOUGH, Transport, replies_bytes_max};
use crate::hub::line::{Item, KeyItem};
use crate::hub::telnet::{
    BINARY, DO, DONT, ECHO, IAC, SUPPRESS_GO_AHEAD, WILL, WINDOW_SIZE, WONT, refusal,
};
use crate::protocol::{Command, Limits, Parting, Request};
use crate::state::saved;
use crate::talk::editor::{Editor, NAMES_SHOWN_MAX, Typed};
use crate::talk::{self, COLUMNS_DEFAULT, Form};
use crate::time::Now;

/// How many people the server edits lines for at the same time.
pub const EDITORS_MAX: usize = 64;
/// How much longer than a message a line may be, in bytes: for what begins with a slash.
pub const COMMAND_BYTES: usize = 64;

/// The longest line that can be edited, in bytes, however long messages may be: each key draws it.
pub const EDITED_BYTES_MAX: usize = 4096;

/// Says that there is no place for one more.
const TOO_MANY: &str = "too many people edit their lines now; try again later";

/// What the server offers and asks. A program that knows no telnet shows this as characters: after the
/// CR, the line that follows covers them.
const OFFER: [u8; 10] = [
    IAC,
    WILL,
    ECHO,
    IAC,
    WILL,
    SUPPRESS_GO_AHEAD,
    IAC,
    DO,
    WINDOW_SIZE,
    b'\r',
];
const WITHDRAWAL: [u8; 9] = [
    IAC,
    WONT,
    ECHO,
    IAC,
    WONT,
    SUPPRESS_GO_AHEAD,
    IAC,
    DONT,
    WINDOW_SIZE,
];

/// Where a client and the server are with editing lines.
#[derive(Debug, Default)]
pub(super) struct Editing {
    /// The client lets the server echo.
    has_echo: bool,
    /// The client sends each key.
    sends_keys: bool,
    /// The size of its window, in columns and rows; 0 if it is not known.
    size: (u16, u16),
    /// `None` until the client has agreed to both.
    pub(super) editor: Option<Editor>,
    /// It has ended. The place counts until the client has taken what was drawn.
    is_over: bool,
}

impl Editing {
    /// Whether the person has asked for it, and it has not ended.
    fn is_on(&self) -> bool {
        !self.is_over
    }

    /// Whether it could have got there with these limits.
    pub(super) fn is_sound(&self, limits: &Limits) -> bool {
        let editor = self.editor.as_ref();
        editor.is_none_or(|editor| editor.is_sound(line_bytes_max(limits)))
    }

    /// How much memory it takes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        let editor = self.editor.as_ref().map_or(0, Editor::memory_bytes);
        size_of::<Editing>() + editor
    }
}

/// The longest line that can be edited, in bytes.
fn line_bytes_max(limits: &Limits) -> usize {
    (limits.message_bytes_max + COMMAND_BYTES).min(EDITED_BYTES_MAX)
}

/// The most bytes that drawing a line adds to the output of a connection.
pub(super) fn drawn_bytes_max(limits: &Limits) -> usize {
    let screen = Editor::screen_bytes_max(line_bytes_max(limits));
    // Once the output is enough, nothing draws the line but a message, a reply, or the end.
    let drawn_twice = OUT_BYTES_ENOUGH + 2 * screen;
    screen.max(drawn_twice.saturating_sub(replies_bytes_max(limits)))
}

/// The most memory that editing takes for one person besides a connection's other buffers, in bytes: the
/// editor, and the output that draws its line.
pub fn editor_bytes_max(limits: &Limits) -> usize {
    let line = line_bytes_max(limits);
    size_of::<Editing>() + Editor::memory_bytes_max(line) + line + drawn_bytes_max(limits)
}

impl<T: Transport> Conn<T> {
    /// Asks the client for BINARY, once. It may refuse.
    fn ask_for_binary(&mut self) {
        if !std::mem::replace(&mut self.is_asked_for_binary, true) {
            self.out().extend([IAC, DO, BINARY]);
        }
    }
}

impl<T: Transport> Hub<T> {
    /// Does what `/edit` and `/edit off` ask for.
    pub(super) fn set_editing(&mut self, key: ConnId, on: bool) {
        let conn = &self.conns[key.index()];
        let is_on = conn.editing.as_deref().is_some_and(Editing::is_on);
        let text = match (on, is_on, conn.is_edited()) {
            (true, false, _) if conn.editing.is_none() && !self.has_place() => TOO_MANY,
            (true, false, _) => {
                let conn = &mut self.conns[key.index()];
                let had_place = conn.editing.replace(Box::default()).is_some();
                self.editors += usize::from(!had_place);
                conn.ask_for_binary();
                conn.out().extend_from_slice(&OFFER);
                "asking your client; if nothing happens, it cannot do this"
            }
            (true, true, false) => "your client has not answered; it cannot do this",
            (true, true, true) => "it is on already; /edit off ends it",
            (false, false, _) => "it is off already",
            (false, true, is_edited) => {
                self.withdraw(key);
                match is_edited {
                    true => "your client edits the line again",
                    false => "it is off already",
                }
            }
        };
        self.tell(key, text);
    }

    /// Whether one more person may have their lines edited. Somebody whose client has not answered makes
    /// way.
    fn has_place(&mut self) -> bool {
        if self.editors >= EDITORS_MAX {
            let is_waiting = |(_, conn): &(usize, &Conn<T>)| {
                let is_on = conn.editing.as_deref().is_some_and(Editing::is_on);
                is_on && !conn.is_edited()
            };
            let waiting = self.conns.iter().find(is_waiting);
            if let Some(key) = waiting.map(|(index, _)| ConnId::at(index)) {
                self.withdraw(key);
                self.tell(key, TOO_MANY);
                self.conns[key.index()].editing = None;
                self.editors -= 1;
                self.write_later(key);
            }
        }
        self.editors < EDITORS_MAX
    }

    /// Ends editing, and tells the client that it edits the line itself. Returns what was typed of a line.
    fn withdraw(&mut self, key: ConnId) -> String {
        let typed = self.end_editing(key);
        self.conns[key.index()].out().extend_from_slice(&WITHDRAWAL);
        typed
    }

    /// Shows a person a line.
    fn tell(&mut self, key: ConnId, text: &str) {
        let mut shown = Vec::new();
        talk::write_line(text, &mut shown);
        self.conns[key.index()].append(&shown);
    }

    /// Ends editing without a word to the client. Returns what was typed of a line, which stays on the
    /// screen.
    pub(super) fn end_editing(&mut self, key: ConnId) -> String {
        let conn = &mut self.conns[key.index()];
        let Some(editing) = &mut conn.editing else {
            return String::new();
        };
        editing.is_over = true;
        match editing.editor.take() {
            Some(editor) => editor.finish(conn.out()),
            None => String::new(),
        }
    }

    /// Frees the place of somebody who edits no more, once the client has taken what was drawn.
    pub(super) fn free_place(&mut self, key: ConnId) {
        let conn = &mut self.conns[key.index()];
        if conn.out_len() == 0 && conn.editing.as_deref().is_some_and(|e| e.is_over) {
            conn.editing = None;
            self.editors -= 1;
        }
    }

    /// Notes what a client says about an option, and begins or ends editing if that decides it.
    pub(super) fn note_option(&mut self, key: ConnId, verb: u8, option: u8) {
        let limits = *self.chat.limits();
        let conn = &mut self.conns[key.index()];
        let is_person = conn.caller.form() == Form::Talk;
        if is_person && (verb, option) == (WILL, BINARY) {
            conn.ask_for_binary();
            return conn.parts().0.end_lines_at_cr();
        }
        let Some(editing) = conn.editing.as_mut().filter(|e| e.is_on()) else {
            conn.out()
                .extend(refusal(verb, option).into_iter().flatten());
            if is_person {
                conn.ask_for_binary();
            }
            return;
        };
        match (verb, option) {
            (DO, ECHO) => editing.has_echo = true,
            (DO, SUPPRESS_GO_AHEAD) => editing.sends_keys = true,
            (WILL | WONT, WINDOW_SIZE) => {}
            (DONT, ECHO | SUPPRESS_GO_AHEAD) => {
                let was_edited = editing.editor.is_some();
                let has_been_edited = conn.has_been_edited;
                let text = match (was_edited, self.withdraw(key).is_empty()) {
                    (false, _) if has_been_edited => {
                        "your client refuses; to edit again, connect again"
                    }
                    (false, _) => "your client edits the line itself; nothing has changed",
                    (true, true) => "your client edits the line again",
                    (true, false) => "your client edits the line again, and this one was not sent",
                };
                return self.tell(key, text);
            }
            _ => {
                return conn
                    .out()
                    .extend(refusal(verb, option).into_iter().flatten());
            }
        }
        if editing.has_echo && editing.sends_keys && editing.editor.is_none() {
            let (columns, rows) = editing.size;
            editing.editor = Some(Editor::new(columns, rows, line_bytes_max(&limits)));
            conn.has_been_edited = true;
            // A client that sent whole lines may have sent a part of one.
            let partial = conn.parts().0.take_line_begun();
            self.tell(
                key,
                "arrow keys, history and TAB work now; /edit off ends it",
            );
            let conn = &mut self.conns[key.index()];
            let (editor, out) = conn.editor_and_out().expect("it has just begun");
            let mut keys = &partial[..];
            while editor.type_in(&mut keys, out).is_some() {}
        }
    }

    /// Notes how large a client's window is.
    pub(super) fn note_window_size(&mut self, key: ConnId, columns: u16, rows: u16, now: Now) {
        let conn = &mut self.conns[key.index()];
        if let Some(editing) = conn.editing.as_mut().filter(|e| e.is_on()) {
            editing.size = (columns, rows);
            let columns = NonZeroU16::new(columns).map_or(COLUMNS_DEFAULT, NonZeroU16::get);
            let window = ConnEvent::Window(columns);
            self.chat.note(&mut conn.caller, window, now);
        }
    }

    /// Fits the line that a person types into the window as it is now.
    pub(super) fn fit_window(&mut self, key: ConnId) {
        let conn = &mut self.conns[key.index()];
        let Some((columns, rows)) = conn.editing.as_ref().map(|editing| editing.size) else {
            return;
        };
        // While the client takes nothing, nothing more is drawn for it than has to be.
        if conn.out_len() >= OUT_BYTES_ENOUGH {
            return;
        }
        if let Some((editor, out)) = conn.editor_and_out() {
            editor.resize(columns, rows, out);
        }
    }

    /// Takes keys off `input` until a line is complete, or all of `input`.
    pub(super) fn take_keys(&mut self, key: ConnId, permit: Permit, input: &mut &[u8], now: Now) {
        let limits = *self.chat.limits();
        let had = *input;
        let conn = &mut self.conns[key.index()];
        let session = conn.caller.session();
        let form = conn.caller.form();
        let mut request = None;
        let mut typed = None;
        let mut is_drawn = false;
        match conn.parts().0.next_keys(input) {
            None => {}
            Some(KeyItem::Keys(mut keys)) => {
                let (editor, out) = conn.editor_and_out().expect("its keys are taken");
                typed = editor.type_in(&mut keys, out);
                is_drawn = true;
                // What the editor left of them is still to come.
                *input = &had[had.len() - input.len() - keys.len()..];
            }
            Some(KeyItem::Key(pressed)) => {
                let (editor, out) = conn.editor_and_out().expect("its keys are taken");
                typed = editor.press(pressed, out);
                is_drawn = true;
            }
            Some(KeyItem::Other(Item::SignOfLife)) => request = Some(Request::SignOfLife),
            Some(KeyItem::Other(Item::AreYouThere)) => {
                request = Some(Request::AreYouThere);
                is_drawn = true;
            }
            Some(KeyItem::Other(Item::Option(verb, option))) => self.note_option(key, verb, option),
            Some(KeyItem::Other(Item::WindowSize(columns, rows))) => {
                self.note_window_size(key, columns, rows, now);
            }
            Some(KeyItem::Other(_)) => unreachable!("only lines make the others"),
        }
        // Whatever makes the editor draw its line once more in the same read counts.
        let ends_line = typed.is_some() || is_drawn && !input.is_empty();
        let line = match typed {
            Some(Typed::Line(line)) => Some(line),
            Some(Typed::Tab) => {
                self.complete(key);
                None
            }
            Some(Typed::End) => {
                request = Some(Request::Command(Command::Parting(Parting::Quit)));
                None
            }
            Some(Typed::Dropped) | None => None,
        };
        if let Some(line) = &line {
            request = Some(form.read(line.as_bytes(), &limits));
        }
        let edit = match request {
            Some(Request::Edit { on }) => Some(on),
            _ => None,
        };
        let piece = Input {
            bytes: had.len() - input.len(),
            is_negotiation: false,
            ends_line,
            request,
        };
        let (_, caller, out) = self.conns[key.index()].parts();
        let before = out.len();
        let answered = self.chat.answer(caller, permit, piece, now, out);
        self.conns[key.index()].show_above(before);
        self.lines_left = self.lines_left.saturating_sub(answered.lines);
        match answered.outcome {
            Outcome::Later(pending) => self.answer_after_output(key, pending, now),
            outcome => self.after_answer(key, session, outcome, now),
        }
        if let Some(on) = edit {
            self.set_editing(key, on);
        }
    }

    /// Completes the word before the cursor.
    fn complete(&mut self, key: ConnId) {
        let conn = &mut self.conns[key.index()];
        let session = conn.caller.session();
        let Some((editor, out)) = conn.editor_and_out() else {
            return;
        };
        let names = (self.chat).completions(session, editor.word(), NAMES_SHOWN_MAX + 1);
        if let Some(names) = editor.complete(&names, out) {
            self.tell(key, &names);
        }
    }
}

saved!(struct Editing { has_echo, sends_keys, size, editor, is_over });
