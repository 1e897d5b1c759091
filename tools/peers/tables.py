"""The results as text: medians in tables, and what was promised and whether it holds."""

import statistics

PEERS = ["ngircd", "mosquitto", "nats", "redis"]
# A MB in KiB and in MiB: targets are in MB.
MB_KIB = 1e6 / 1024
MB_MIB = MB_KIB / 1024
# The log of a room of chinwag's, at its default.
LOG_MIB = 64 / 1024


class Results:
    """All results, asked by server, measure and field."""

    def __init__(self, record):
        self.record = record
        self.values = {}
        for result in record["results"]:
            for field, value in result.items():
                if isinstance(value, (int, float)):
                    key = (result["server"], result["measure"], field)
                    self.values.setdefault(key, []).append(value)

    def median(self, server, measure, field):
        """The middle one of all rounds; None without a measurement."""
        values = self.values.get((server, measure, field))
        return statistics.median(values) if values else None

    def worst(self, server, measure, field):
        """The highest one of all rounds."""
        values = self.values.get((server, measure, field))
        return max(values) if values else None

    def least(self, server, measure, field):
        """The lowest one of all rounds."""
        values = self.values.get((server, measure, field))
        return min(values) if values else None


def report(record):
    """Everything that there is to say."""
    results = Results(record)
    machine = record["machine"]
    rounds = "one round" if record["rounds"] == 1 else f"medians of {record['rounds']} rounds"
    head = (f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['system']}; {rounds}, "
            f"{record['seconds']} s each; 64-byte messages over loopback; the server on one CPU, "
            "the load on another.")
    parts = [head, main_table(results), deaf_table(results), join_table(results),
             pull_table(results), curve_table(results), failures(record), targets_table(results)]
    return "\n\n".join(part for part in parts if part)


def main_table(results):
    def cpu(server, measure):
        text = short(results.median(server, measure, "cpu_us_per_delivery"))
        lost = results.worst(server, measure, "lost")
        return f"{text} (lost {lost:,})" if lost else text

    columns = [
        ("RSS at start, MiB", lambda s: mib(results.median(s, "start", "resident_kib_start"))),
        ("bytes per idle client", lambda s: whole(results.median(s, "idle", "bytes_per_session"))),
        ("wake-ups/s", lambda s: short(results.median(s, "idle", "wakeups_per_second"))),
        ("idle CPU, ms/s", lambda s: short(results.median(s, "idle", "cpu_ms_per_second"))),
        ("CPU µs per delivery, 1→1,000, 100 in flight", lambda s: cpu(s, "flood-1000")),
        ("1→100, 1,000 in flight", lambda s: cpu(s, "flood-100")),
        ("1→1,000, 100 a second", lambda s: cpu(s, "paced")),
        ("p50 / p99, ms", lambda s: pair(results.median(s, "paced", "latency_p50_ms"),
                                         results.median(s, "paced", "latency_p99_ms"))),
        ("peak MiB, 100 of 1,000 never read",
         lambda s: mib(results.median(s, "deaf", "resident_peak_growth_kib"))),
    ]

    return table(results, "One to many", columns)


def deaf_table(results):
    def of(field, form):
        return lambda s: form(results.median(s, "deaf", field))
    columns = [
        ("peak growth, MiB", of("resident_peak_growth_kib", mib)),
        ("TCP memory held after it, MiB", of("tcp_memory_held_growth_mib", short)),
        ("TCP memory at its peak, MiB", of("tcp_memory_peak_growth_mib", short)),
        ("the same without them, MiB", of("tcp_memory_peak_growth_alone_mib", short)),
        ("deliveries/s of the 900", of("deliveries_per_second", whole)),
        ("part of their rate alone", of("rate_kept", percent)),
        ("CPU µs per delivery", of("cpu_us_per_delivery", short)),
        ("the same without them", of("cpu_us_per_delivery_alone", short)),
        ("cut off", of("cut_off", whole)),
    ]
    return table(results, "100 of 1,000 never read", columns)


def join_table(results):
    def of(measure, field, form):
        return lambda s: form(results.median(s, measure, field))

    def unsuccessful(measure):
        def text(server):
            refused = results.worst(server, measure, "refused")
            unconfirmed = results.worst(server, measure, "unconfirmed")
            return "" if refused is None else f"{refused:,} / {unconfirmed:,}"
        return text

    columns = []
    for measure, title in (("storm-1000", "1,000 into one room"),
                           ("storm-10000", "10,000 into rooms of ten")):
        columns += [
            (f"{title}: s until all are in", of(measure, "seconds_confirmed", short)),
            ("s until each knows of all", of(measure, "seconds_delivered", short)),
            ("refused / not in after 30 s", unsuccessful(measure)),
            ("SYNs dropped", of(measure, "listen_drops", whole)),
            ("CPU, ms", of(measure, "cpu_ms", whole)),
        ]
    return table(results, "Joining, all at once", columns)


def pull_table(results):
    def of(measure, field):
        return lambda s: short(results.median(s, measure, field))
    columns = [
        ("CPU µs per event asked for, 1 request in flight", of("pull-1", "cpu_us_per_event")),
        ("16 in flight", of("pull-16", "cpu_us_per_event")),
        ("events per request", of("pull-1", "events_per_request")),
        ("CPU µs per request for nothing, 1 in flight", of("ask-1", "cpu_us_per_request")),
        ("16 in flight", of("ask-16", "cpu_us_per_request")),
    ]
    return table(results, "Pull: POLL, and redis's XREAD COUNT 100 and PING", columns)


def curve_table(results):
    columns = []
    for receivers in (10, 100, 1_000, 10_000):
        measure = f"curve-{receivers}"
        columns += [
            (f"{receivers:,} receivers: CPU µs per delivery",
             lambda s, m=measure: short(results.median(s, m, "cpu_us_per_delivery"))),
            ("bytes per client",
             lambda s, m=measure: whole(results.median(s, m, "bytes_per_session"))),
        ]
    return table(results, "By the number of receivers, 100 messages in flight", columns)


def table(results, title, columns):
    """A Markdown table of all servers; nothing if there is nothing to be shown."""
    rows = []
    for server, version in results.record["versions"].items():
        cells = [cell(server) for _, cell in columns]
        if any(cells):
            rows.append([version, *(text or "—" for text in cells)])
    if not rows:
        return ""
    return markdown(title, ["server", *(name for name, _ in columns)], rows)


def markdown(title, heads, rows):
    lines = [f"**{title}**", "", f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def failures(record):
    """What could not be measured, and why."""
    seen = {(result["server"], result["measure"]): result["failed"]
            for result in record["results"] if "failed" in result}
    return "\n".join(f"- {server}, {measure}: {why}" for (server, measure), why in seen.items())


def targets_table(results):
    rows = []
    for name, bound, measured in targets(results):
        if measured is None:
            continue
        if bound is None:
            rows.append([name, "—", short(measured), "nothing to compare with"])
        else:
            rows.append([name, f"≤ {short(bound)}", short(measured),
                         "met" if measured <= bound else "**not met**"])
    return markdown("Targets", ["target", "bound", "chinwag", ""], rows) if rows else ""


def targets(results):
    """What was promised: a name, the most that it may be, and what it is."""
    def of(server, measure, field):
        return results.median(server, measure, field)

    def times(factor, value):
        return factor * value if value is not None else None

    def best_peer(measure):
        values = [of(peer, measure, "cpu_us_per_delivery") for peer in PEERS]
        return min((value for value in values if value is not None), default=None)

    for measure, what, factor in (("flood-1000", "1→1,000, 100 in flight", 1.5),
                                  ("flood-100", "1→100, 1,000 in flight", 3),
                                  ("paced", "1→1,000, 100 a second", 1.1)):
        field = "cpu_us_per_delivery"
        mine = of("chinwag", measure, field)
        yield (f"CPU µs per delivery, {what}: {factor} × floor's",
               times(factor, of("floor", measure, field)), mine)
        if measure != "paced":
            yield "the same: half the best peer's", times(0.5, best_peer(measure)), mine
    for field in ("latency_p50_ms", "latency_p99_ms"):
        yield (f"{field.split('_')[1]}, 1→1,000, 100 a second, ms: 1.2 × floor's",
               times(1.2, of("floor", "paced", field)), of("chinwag", "paced", field))
    yield "bytes per idle session of 10,000", 400, of("chinwag", "idle", "bytes_per_session")
    start = of("floor", "start", "resident_kib_start")
    yield ("resident at start, KiB: floor's and 0.4 MB",
           start + 0.4 * MB_KIB if start is not None else None, of("chinwag", "start", "resident_kib_start"))
    yield "wake-ups with 10,000 idle, in all", 0, results.worst("chinwag", "idle", "wakeups")
    yield "CPU with 10,000 idle, ms/s", 0.1, results.worst("chinwag", "idle", "cpu_ms_per_second")
    growth = of("chinwag", "deaf", "resident_peak_growth_kib")
    yield ("100 of 1,000 never read: peak growth, MiB: 1 MB and the log", MB_MIB + LOG_MIB,
           times(1 / 1024, growth))
    yield ("100 of 1,000 never read: TCP memory held for them, MiB: 10 MB", 10 * MB_MIB,
           of("chinwag", "deaf", "tcp_memory_held_growth_mib"))
    kept = of("chinwag", "deaf", "rate_kept")
    yield ("100 of 1,000 never read: rate that the 900 lose", 0.1,
           max(0, 1 - kept) if kept is not None else None)
    yield from join_targets(results)
    for in_flight in (1, 16):
        yield (f"CPU µs per polled event, {in_flight} in flight: 0.3 × redis's XREAD",
               times(0.3, of("redis", f"pull-{in_flight}", "cpu_us_per_event")),
               of("chinwag", f"pull-{in_flight}", "cpu_us_per_event"))
    for in_flight in (1, 16):
        yield (f"CPU µs per empty POLL, {in_flight} in flight: 1.2 × redis's PING",
               times(1.2, of("redis", f"ask-{in_flight}", "cpu_us_per_request")),
               of("chinwag", f"ask-{in_flight}", "cpu_us_per_request"))


def join_targets(results):
    for measure, what in (("storm-1000", "1,000 into one room"),
                          ("storm-10000", "10,000 into rooms of ten")):
        yield (f"{what}: s until all are in: redis's",
               results.median("redis", measure, "seconds_confirmed"),
               results.median("chinwag", measure, "seconds_confirmed"))
        expected = results.worst("chinwag", measure, "joined_expected")
        told = results.least("chinwag", measure, "joined_delivered")
        yield f"{what}: JOINED not delivered", 0, expected - told if told is not None else None
        worst = [results.worst("chinwag", measure, field)
                 for field in ("refused", "unconfirmed", "listen_drops", "syn_queue_drops")]
        yield (f"{what}: refused, not in, or SYN dropped", 0,
               sum(worst) if None not in worst else None)


def short(value):
    """Three digits that say something."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}"


def whole(value):
    return "" if value is None else f"{value:,.0f}"


def mib(kib):
    return "" if kib is None else short(kib / 1024)


def percent(part):
    return "" if part is None else f"{100 * part:.0f} %"


def pair(first, second):
    return "" if first is None or second is None else f"{short(first)} / {short(second)}"
