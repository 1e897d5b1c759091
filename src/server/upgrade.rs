//! Upgrade in place: another program takes this one's place in the process, and nobody notices anything
//! but a wait.
//!
//! The server stands still meanwhile: it reads, accepts, writes and fires nothing, so what is saved stays
//! true. A child of this process that executes the new program shows that it understands the state; only
//! then the process itself executes it. What was tried is what is executed: it is opened once.
//! `server/resume.rs` is the new program's part.

use std::fs::File;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::trial::Trial;
use super::{Server, ask_upgrade, errand, program, signals};
use crate::net::inherited;
use crate::net::service_manager::ServiceManager;
use crate::time::{Clock, Millis};

/// How long a program on trial may take.
const TRIAL_MAX: Millis = Millis(2000);
/// How long to wait for a program to end that can say nothing more, before looking again.
const END_PAUSE: Millis = Millis(1);

impl Server {
    /// Lets the program that is now at this one's path take its place. Returns if it must not; then
    /// nothing has changed.
    pub(super) fn upgrade(&mut self) {
        let Err(reason) = self.try_to_upgrade();
        // Whoever has asked again by now had the same wish. Whoever asks after the answer has not.
        self.signals.take_upgrade();
        self.note_refusal(&reason);
    }

    /// Counts and logs that there was no upgrade, and answers whoever has asked for it.
    pub(super) fn note_refusal(&mut self, reason: &str) {
        self.hub.stats().upgrades_failed += 1;
        let text = format!("upgrade refused: {reason}");
        log::error!("{text}");
        ask_upgrade::answer(&text);
    }

    fn try_to_upgrade(&mut self) -> Result<std::convert::Infallible, String> {
        let path = self.program.clone()?;
        let shown = path.display();
        let about_program = |error| format!("{shown}: {error}");
        let program = program::open(&path).map_err(|error| about_program(error.to_string()))?;
        let this = program::open(program::THIS);
        let this = this.map_err(|error| format!("cannot open this program: {error}"))?;
        if let Some(saves) = &mut self.saves {
            if !saves.abandon(&mut self.hub) {
                return Err("the disk does not answer, and a save waits for it".to_owned());
            }
        }
        self.hub.finish_telling(self.clock.now());
        let state = self.save_state(&path, self.clock.now());
        let state = state.map_err(|error| format!("cannot save the state: {error}"))?;
        self.try_out(&program, &state).map_err(about_program)?;
        signals::block();
        // From here on, signals wait for the program that goes on.
        let result = match self.signals.is_to_end() {
            true => Err("the server has to end".to_owned()),
            false => {
                self.signals.repeat_reload();
                // The next program may be one that SIGUSR1 ends.
                if self.signals.take_stats() {
                    self.log_stats();
                }
                self.pass_on(&[&state, &this], true);
                let error = program::execute(&program, &errand::resume(&state, &this), false);
                self.pass_on(&[&state, &this], false);
                Err(format!("{shown}: cannot execute it: {error}"))
            }
        };
        signals::unblock();
        result
    }

    /// Chooses whether a program that is executed inherits all that it needs.
    pub(super) fn pass_on(&mut self, files: &[&File], is_inherited: bool) {
        self.listeners.pass_on(is_inherited);
        for (_, stream) in self.hub.streams() {
            stream.pass_on(is_inherited);
        }
        if let Some(broker) = self.hub.broker() {
            broker.pass_on(is_inherited);
        }
        if let Some(saves) = &self.saves {
            inherited::pass_on(saves.file().lock_descriptor(), is_inherited);
        }
        for file in files {
            inherited::pass_on(file, is_inherited);
        }
    }

    /// Lets a child find out whether a program understands the state.
    fn try_out(&mut self, program: &File, state: &File) -> Result<(), String> {
        let trial = Trial::start(program, state);
        let mut trial = trial.map_err(|error| format!("cannot try it out: {error}"))?;
        let end = self.clock.now().at + TRIAL_MAX;
        while !trial.look() {
            let now = self.clock.now();
            if now.past >= end {
                break;
            }
            if self.signals.is_to_end() {
                return Err("the server has to end".to_owned());
            }
            self.tell_service_manager(now);
            let manager = self.service_manager.as_ref();
            let deadline = manager.and_then(ServiceManager::next_deadline);
            let mut asked = vec![PollFd::new(&self.signals, PollFlags::IN)];
            let deadline = match trial.as_fd() {
                Some(stream) => {
                    asked.push(PollFd::from_borrowed_fd(stream, PollFlags::IN));
                    deadline.map_or(end, |deadline| deadline.min(end))
                }
                None => now.at + END_PAUSE,
            };
            let timeout = Timespec::try_from(self.clock.until(deadline)).unwrap_or_default();
            // An error is an interruption by a signal.
            let _ = poll(&mut asked, Some(&timeout));
            self.signals.clear();
        }
        trial.finish(&format!("{}\n", answer(&self.hub.summary())))
    }
}

/// What a program on trial has to say.
pub fn answer(summary: &crate::state::Summary) -> String {
    format!("chinwag state {summary}")
}
