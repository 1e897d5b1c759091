#!/usr/bin/env node
// Prints what happened in a room since the last run, each event once; FILE keeps the session.
// For cron. An hour without a run ends its session; the next run joins again where it was.
"use strict";
const fs = require("fs");
const net = require("net");

if (process.argv.length !== 7) {
  console.error("usage: poll.js HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)");
  process.exit(2);
}
const [host, port, room, name, file] = process.argv.slice(2);
const key = process.env.CHINWAG_KEY ? ` key=${process.env.CHINWAG_KEY}` : "";
const join = `JOIN ${name} room=${room} mode=pull idle=3600${key}`;
let [token, last, log] = fs.existsSync(file) ? fs.readFileSync(file, "utf8").split(/\s/) : [];
const joining = () => (log ? `${join} after=${last} log=${log}` : join);

function save() {
  const fd = fs.openSync(`${file}.new`, "w", 0o600);
  fs.writeFileSync(fd, `${token} ${last} ${log}\n`);
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  fs.renameSync(`${file}.new`, file);
}

async function* linesOf(conn) {
  let rest = "";
  for await (const chunk of conn) {
    const lines = (rest + chunk).split("\r\n");
    rest = lines.pop(); // without an end, so it may be cut off
    yield* lines;
  }
  throw new Error("cut off; the next run continues from here");
}

async function visit() {
  const conn = net.connect(port, host).setEncoding("utf8");
  const silence = new Error("no answer; the next run continues from here");
  conn.setTimeout(10000, () => conn.destroy(silence));
  const ask = (line) => conn.write(line.replace(/[\x00-\x1f\x7f]/g, " ") + "\n");
  const lines = linesOf(conn);
  for (;;) {
    const line = (await lines.next()).value;
    const [verb, second, third] = line.split(" ");
    const field = Object.fromEntries(line.split(" ").map((word) => word.split("=")));
    if (verb === "HELLO" && third === "protocol=1") {
      ask(token ? `RESUME ${token}` : joining());
    } else if (verb === "ERR" && ["session-ended", "unknown-session"].includes(second)) {
      console.error(`poll: ${line}; joining again`);
      ask(joining());
    } else if (verb === "OK" && second === "JOIN") {
      token = field.session;
      if (field.log !== log) [last, log] = [field.seq - 1, field.log];
      save();
      ask(`POLL after=${last}`);
    } else if (verb === "OK" && second === "RESUME") {
      ask(`POLL after=${last}`);
    } else if (verb === "OK" && second === "POLL") {
      const events = [];
      while (events.length < third) events.push((await lines.next()).value);
      const isLost = (event) => event.startsWith("LOST ");
      for (const event of events.filter(isLost)) {
        console.error(`poll: ${event.split(" ")[1]} events are missing`);
      }
      const isShown = (event) => /^(MSG|JOINED|LEFT) /.test(event);
      const shown = events.filter(isShown).map((event) => event + "\n");
      // If this is killed between showing and saving, the next run shows these events
      // again; in the other order they would be lost.
      fs.writeFileSync(1, shown.join(""));
      last = field.last;
      save();
      if (field.more === "0") return;
      ask(`POLL after=${last}`);
    } else if (["HELLO", "ERR", "BYE"].includes(verb)) {
      throw new Error(line);
    }
  }
}

visit().then(() => process.exit(0), (error) => {
  console.error(`poll: ${host} port ${port}: ${error.message}`);
  process.exit(1);
});
