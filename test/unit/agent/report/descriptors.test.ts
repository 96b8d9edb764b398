/** A process without a free file descriptor: it goes on, says why, and serves again when there are some. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Bundle, bundle } from "../../../support/bundle.ts";
import { SOON } from "../../../support/patience.ts";
import { describeOnRuntimes } from "../../../support/runtimes.ts";

describeOnRuntimes("a process without descriptors", ({ kind, file }) => {
  let program: Bundle;
  let child: ChildProcess;
  beforeAll(async () => {
    program = await bundle("without-descriptors.ts", undefined, kind);
  });
  afterAll(() => {
    child.kill("SIGKILL");
    program.dispose();
  });

  it("fails to accept clients and to start programs without ending", async () => {
    const command = 'ulimit -n 60; exec "$0" "$@"';
    child = spawn("sh", ["-c", command, file, program.path], {
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
    const early = Promise.all(Array.from({ length: 5 }, get));
    // Node closes their connections; Bun leaves them in the socket's queue until it can accept them.
    if (kind === "node") expect(await early).toEqual(["", "", "", "", ""]);
    expect(child.exitCode).toBeNull();

    stdin.write("free them\n");
    await expect.poll(get, SOON).toContain("served");
    if (kind === "bun") expect(await early).toEqual(Array(5).fill(expect.stringContaining("served")));
  });
});
