/** `tulle explain`: one clear error for what cannot be explained. test/e2e/explain.test.ts has the rest. */

import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCli } from "../../../support/cli.ts";

it.each([
  [["host", "10.2.3.0/24"], /the destination is "10\.2\.3\.0\/24"; write an IPv4 or IPv6 address/],
  [["host", "node7"], /the destination is "node7"/],
  [["host", "224.0.0.1"], /224\.0\.0\.1 is not an address of a host/],
  [["host", "0.0.0.0"], /0\.0\.0\.0 is not an address of a host/],
  [["host", "10.2.3.4", "sctp", "80"], /the protocol is "sctp"; write tcp or udp/],
  [["host", "10.2.3.4", "tcp"], /the port is ""; write a whole number from 1 to 65535/],
  [["host", "10.2.3.4", "tcp", "65536"], /the port is "65536"/],
  [["host", "10.2.3.4", "tcp", "0"], /the port is "0"/],
  [["host", "10.2.3.4", "udp", "1e3"], /the port is "1e3"/],
  [
    ["10.2.3.999", "10.2.3.4"],
    /the source "10\.2\.3\.999" is neither an address nor the name of a container/,
  ],
  [["fd00:zz::1", "10.2.3.4"], /the source "fd00:zz::1" is neither an address nor the name/],
  [["no-such-container", "10.2.3.4"], /no container of this host is named "no-such-container"/],
  [["203.0.113.9", "10.2.3.4"], /203\.0\.113\.9 is neither an address of this host nor that of a container/],
  [["127.0.0.1", "fd00:2::1"], /the destination is an IPv6 address, and the source 127\.0\.0\.1 has none/],
])("%j is one line that says what to write", async (args, expected) => {
  const { code, out, err } = await runCli(["explain", ...args, "--docker-socket", "/nowhere"]);
  expect(err).toMatch(expected);
  expect(err).toMatch(/^tulle.*\[TULLE_CONFIG\]\n$/);
  expect(out).toBe("");
  expect(code).not.toBe(0);
});

it("explains what stays on this host, with the end as the last line", async () => {
  const { code, out } = await runCli(["explain", "host", "127.0.0.1", "--run-dir", "/nowhere"]);
  expect(code).toBe(0);
  expect(out.split("\n")[0]).toBe("this host to 127.0.0.1, an echo request (ping)");
  // Without root the firewall may change it.
  expect(out.trimEnd().split("\n").at(-1)).toMatch(
    /^the packet reaches this host, which has 127\.0\.0\.1(;|$)/,
  );
  expect(out).toMatch(/^ {2}route {7}local 127\.0\.0\./m);
});

it("takes a container's name from Docker", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tulle-explain-"));
  const socket = join(folder, "docker.sock");
  const networks = { bridge: { IPAddress: "127.0.0.1", GlobalIPv6Address: "" } };
  const engine = createServer(({ url }, response) => {
    response.statusCode = url === "/containers/web.1/json" ? 200 : 404;
    response.end(JSON.stringify({ message: "no such container", NetworkSettings: { Networks: networks } }));
  });
  await new Promise<void>((resolve) => engine.listen(socket, resolve));
  try {
    const explain = (...args: readonly string[]) =>
      runCli(["explain", ...args, "--docker-socket", socket, "--run-dir", "/nowhere"]);
    expect((await explain("web.1", "127.0.0.1")).out).toMatch(
      /^127\.0\.0\.1 to 127\.0\.0\.1, an echo request/,
    );
    expect((await explain("web.1", "fd00::1")).err).toMatch(/the source web\.1 has none/);
    expect((await explain("other", "127.0.0.1")).err).toMatch(/no container of this host is named "other"/);
  } finally {
    engine.close();
    rmSync(folder, { recursive: true });
  }
});
