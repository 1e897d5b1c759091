//! Why the server closes a connection.

/// What no well-meaning chat client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abuse {
    /// Many errors without an OK in between.
    Errors,
    /// Several JOINs without the right key.
    Denials,
    /// A line of HTTP, or of a protocol that looks like it.
    Http,
    /// A stream that begins as TLS does.
    Tls,
    /// A line that is too long, on a connection that has not had an OK yet.
    TooLong,
}

impl Abuse {
    /// What to tell the client, and the server's log.
    pub const fn text(self) -> &'static str {
        match self {
            Abuse::Errors => "too many errors without an OK in between",
            Abuse::Denials => "too many JOINs without the right key",
            Abuse::Http => "this is a chat server, which speaks no HTTP",
            Abuse::Tls => "this port takes plain text; TLS ends in front of it, or on another port",
            Abuse::TooLong => "the line is too long for a chat client that has yet to get an OK",
        }
    }
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bye {
    /// The client said QUIT.
    Quit,
    /// The session showed no sign of life for its idle time.
    Expired,
    /// Another connection resumed the session, or its name or key was taken from it.
    Replaced,
    /// The client took nothing for the session's idle time, though there was something to send.
    Slow,
    /// The connection got no session in time.
    Handshake,
    /// The server has too many connections.
    Full,
    /// The server shuts down.
    Shutdown,
    /// The client did what no well-meaning client does.
    Abuse(Abuse),
}

impl Bye {
    /// Every reason; one kind of abuse stands for all.
    pub const ALL: [Bye; 8] = [
        Bye::Quit,
        Bye::Expired,
        Bye::Replaced,
        Bye::Slow,
        Bye::Handshake,
        Bye::Full,
        Bye::Shutdown,
        Bye::Abuse(Abuse::Errors),
    ];

    /// The reason as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        self.words().0
    }

    /// What to tell a person.
    pub const fn text(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Bye::Quit => ("quit", "goodbye"),
            Bye::Expired => ("expired", "no sign of life; send PING now and then"),
            Bye::Replaced => (
                "replaced",
                "the session, or the right to its name, is another's now",
            ),
            Bye::Slow => ("slow", "nothing was read for too long"),
            Bye::Handshake => ("handshake", "no JOIN or RESUME in time"),
            Bye::Full => (
                "full",
                "the server has too many connections; try again later",
            ),
            Bye::Shutdown => ("shutdown", "the server shuts down"),
            Bye::Abuse(abuse) => ("abuse", abuse.text()),
        }
    }
}
