/** A process without a free file descriptor: it goes on, says why, and serves again when there are some. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Bundle, bundle } from "../../../support/bundle.ts";
import { SOON } from "../../../support/patience.ts";

let program: Bundle;
let child: ChildProcess;
beforeAll(async () => {
  program = await bundle("without-descriptors.ts");
});
afterAll(() => {
  child.kill("SIGKILL");
  program.dispose();
});

it("fails to accept clients and to start programs without ending", async () => {
  const command = 'ulimit -n 60; exec "$0" "$@"';
  child = spawn("sh", ["-c", command, process.execPath, program.path], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error("the program has no pipes");
  const [line] = await once(stdout, "data");
  const { port, failure } = JSON.parse(String(line));
  expect(failure).toContain("EMFILE");

  const get = (): Promise<string> =>
    new Promise((resolve) => {
      let answer = "";
      const socket = connect(port, "127.0.0.1", () =>
        socket.write("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
      );
      socket.on("data", (bytes) => {
        answer += bytes;
      });
      socket.on("error", () => undefined);
      socket.on("close", () => resolve(answer));
    });
  expect(await Promise.all(Array.from({ length: 5 }, get))).toEqual(["", "", "", "", ""]);
  expect(child.exitCode).toBeNull();

  stdin.write("free them\n");
  await expect.poll(get, SOON).toContain("served");
});
