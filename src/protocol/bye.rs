//! Why the server closes a connection.

/// Something that no well-meaning chat client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abuse {
    /// Many errors without an OK in between.
    Errors,
    /// Several JOINs without the right key.
    Denials,
    /// A line of HTTP, or of a similar protocol.
    Http,
    /// A stream that begins as TLS does.
    Tls,
    /// A line that is too long, on a connection that has not had an OK yet.
    TooLong,
}

impl Abuse {
    /// A text for the client and for the server's log.
    pub const fn text(self) -> &'static str {
        match self {
            Abuse::Errors => "too many errors without an OK in between",
            Abuse::Denials => "too many tries without the right key",
            Abuse::Http => "this is a chat server; it does not speak HTTP",
            Abuse::Tls => {
                "this port takes plain text; for TLS use another port, or a proxy before it"
            }
            Abuse::TooLong => "the line is too long for a chat client that has not had an OK yet",
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
    /// Another connection resumed the session, or the session lost the right to its name.
    Replaced,
    /// The client took nothing for the session's idle time, though there was something to send.
    Slow,
    /// The operator ended the session.
    Ended,
    /// The client did not JOIN or RESUME in time.
    Handshake,
    /// The server has too many connections from the client's address.
    AddressFull,
    /// The server has too many connections.
    Full,
    /// The operator has as many connections as there may be, and uses all of them.
    OperatorFull,
    /// The operator needed the place of this connection of theirs, which was silent.
    OperatorSilent,
    /// The server is shutting down.
    Shutdown,
    /// The client did what no well-meaning client does.
    Abuse(Abuse),
}

impl Bye {
    /// Every reason that clients get; one kind of abuse stands for all.
    pub const ALL: [Bye; 9] = [
        Bye::Quit,
        Bye::Expired,
        Bye::Replaced,
        Bye::Slow,
        Bye::Ended,
        Bye::Handshake,
        Bye::Full,
        Bye::Shutdown,
        Bye::Abuse(Abuse::Errors),
    ];

    /// The reason as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        self.words().0
    }

    /// A text for people.
    pub const fn text(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Bye::Quit => ("quit", "goodbye"),
            Bye::Expired => ("expired", "no sign of life; send PING now and then"),
            Bye::Replaced => (
                "replaced",
                "another client has the session now, or the right to its name",
            ),
            Bye::Slow => ("slow", "your client has read nothing for too long"),
            Bye::Ended => ("ended", "the operator has ended this session"),
            Bye::Handshake => ("handshake", "no TALK, JOIN or RESUME in time"),
            Bye::Full => (
                "full",
                "the server has too many connections; try again later",
            ),
            Bye::AddressFull => (
                "full",
                "there are too many connections from your address; close one, or try again later",
            ),
            Bye::OperatorFull => (
                "full",
                "two connections are here already, and both are in use; try again later",
            ),
            Bye::OperatorSilent => (
                "replaced",
                "another connection needed the place of this one, which was silent",
            ),
            Bye::Shutdown => ("shutdown", "the server is shutting down"),
            Bye::Abuse(abuse) => ("abuse", abuse.text()),
        }
    }
}
