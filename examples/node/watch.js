#!/usr/bin/env node
// Prints what happens in a room, each event once, however often the connection breaks.
"use strict";
const net = require("net");
const { setTimeout: sleep } = require("timers/promises");

if (process.argv.length !== 6) {
  console.error("usage: watch.js HOST PORT ROOM NAME   (the key in CHINWAG_KEY)");
  process.exit(2);
}
const [host, port, room, name] = process.argv.slice(2);
const key = process.env.CHINWAG_KEY ? ` key=${process.env.CHINWAG_KEY}` : "";
const join = `JOIN ${name} room=${room} idle=60${key}`.replace(/[\x00-\x1f\x7f]/g, " ");
let token, last, log, pause = 1;
const joining = () => (log ? `${join} after=${last} log=${log}` : join);

const tell = (text) => console.error(`watch: ${text}`);
const fail = (text) => {
  tell(text);
  process.exit(1);
};
process.stdout.on("error", (error) => fail(error.message));

async function* linesOf(conn) {
  let rest = "";
  for await (const chunk of conn) {
    const lines = (rest + chunk).split("\r\n");
    rest = lines.pop(); // without an end, so it may be cut off
    yield* lines;
  }
}

// Reads the server's lines until the connection ends; returns why.
async function listen() {
  const conn = net.connect(port, host).setEncoding("utf8");
  conn.on("error", () => {}); // also thrown where lines are awaited
  let limit = 10;
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => conn.destroy(new Error("silence")), limit * 1000);
  };
  const send = (line) => conn.write(line + "\n");
  wait();
  try {
    for await (const line of linesOf(conn)) {
      const [verb, second, third] = line.split(" ");
      const what = `${verb} ${second}`;
      if (verb === "HELLO" && third === "protocol=1") {
        send(token ? `RESUME ${token} after=${last}` : joining());
      } else if (["OK JOIN", "OK RESUME"].includes(what)) {
        const field = Object.fromEntries(line.split(" ").map((word) => word.split("=")));
        token = field.session ?? token;
        if (field.log !== log) [last, log] = [field.seq - 1, field.log];
        // EXPIRING comes two thirds into the idle time, unless the connection is dead.
        [limit, pause] = [field.idle * 0.75, 1];
        wait();
      } else if (verb === "EXPIRING") {
        send("PING");
        wait();
      } else if (["MSG", "JOINED", "LEFT"].includes(verb)) {
        process.stdout.write(line + "\n");
        last = second;
      } else if (verb === "LOST") {
        tell(`${second} events are missing`);
        last = third - 1;
      } else if (["ERR session-ended", "ERR unknown-session"].includes(what)) {
        tell(`${line}; joining again`);
        token = undefined;
        send(joining());
      } else if (/^(ERR (full|name-taken)|BYE (full|shutdown)) /.test(line)) {
        return line;
      } else if (/^(HELLO|ERR|BYE (replaced|abuse)) /.test(line)) {
        fail(line);
      }
    }
    return "cut off";
  } catch (error) {
    return error.message;
  } finally {
    clearTimeout(timer);
    conn.destroy();
  }
}

(async () => {
  for (;;) {
    const reason = await listen();
    const wait = Math.random() * pause;
    tell(`${reason}; trying again in ${wait.toFixed(1)} s`);
    await sleep(wait * 1000);
    pause = Math.min(2 * pause, 30);
  }
})();
