#!/usr/bin/env node
// Says something in a room, for cron jobs and alarms; exits with 0 if it was said.
"use strict";
const net = require("net");

const [host, port, room, name, ...words] = process.argv.slice(2);
if (words.length === 0) {
  console.error("usage: say.js HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)");
  process.exit(2);
}
const key = process.env.CHINWAG_KEY ? ` key=${process.env.CHINWAG_KEY}` : "";
// A line end within an argument would begin another command.
const join = `JOIN ${name} room=${room} mode=pull idle=10 quiet=yes${key}`;
const lines = [join, `SAY ${words.join(" ")}`, "QUIT"]
  .map((line) => line.replace(/[\x00-\x1f\x7f]/g, " ") + "\n");

let rest = "";
let said = false;
const finish = (reason) => {
  if (!said) console.error(`say: ${reason}`);
  process.exit(said ? 0 : 1);
};
const conn = net.connect(port, host).setEncoding("utf8").setTimeout(10000);
conn.on("timeout", () => finish(`${host} port ${port}: no answer; it may still have been said`));
conn.on("error", (error) => finish(`${host} port ${port}: ${error.message}`));
conn.on("end", () => finish(`${host} port ${port}: cut off; it may still have been said`));
conn.on("data", (chunk) => {
  const whole = (rest + chunk).split("\r\n");
  rest = whole.pop();
  for (const line of whole) {
    if (/^HELLO \S+ protocol=1( |$)/.test(line)) conn.write(lines.join(""));
    else if (line.startsWith("OK SAY ")) said = true;
    else if (/^(HELLO|ERR|BYE) /.test(line)) finish(line);
  }
});
