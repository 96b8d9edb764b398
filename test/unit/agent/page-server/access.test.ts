/** Who may read the page: names of hosts, tokens, cookies, guesses. */

import type { IncomingMessage } from "node:http";
import { beforeEach, describe, expect, it } from "vitest";
import { Access } from "../../../../agent/page-server/access.ts";

const TOKEN = "correct horse battery".replaceAll(" ", "-");

const request = (headers: Record<string, string>, remoteAddress = "192.0.2.1"): IncomingMessage =>
  ({ headers, socket: { remoteAddress } }) as unknown as IncomingMessage;
const bearer = (token: string, address?: string): IncomingMessage =>
  request({ authorization: `Bearer ${token}` }, address);

describe("access to the page", () => {
  let nowMs: number;
  let dateMs: number;
  const access = (token: string | null, port = 8080): Access =>
    new Access({ token, port, monotonicMs: () => nowMs, dateMs: () => dateMs });
  beforeEach(() => {
    nowMs = 1_000_000;
    dateMs = Date.UTC(2026, 0, 31);
  });

  it.each(["localhost:8080", "LOCALHOST", "127.0.0.1:9000", "127.9.9.9", "[::1]:8080"])(
    "answers to %s on loopback",
    (host) => {
      expect(access(null).judgeAddressee(request({ host })).type).toBe("granted");
    },
  );

  it.each([
    "evil.example:8080",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8080",
    "192.168.50.11:8080",
    "",
    "[::1].evil.example",
  ])("does not answer to %s without a token", (host) => {
    expect(access(null).judgeAddressee(request({ host }))).toMatchObject({ type: "denied", status: 403 });
    expect(access(TOKEN).judgeAddressee(request({ host })).type).toBe("granted");
  });

  it("does not answer to another site's scripts, but to its links", () => {
    const from = (mode: string): IncomingMessage =>
      request({ host: "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": mode });
    expect(access(null).judgeAddressee(from("no-cors"))).toMatchObject({ status: 403 });
    expect(access(null).judgeAddressee(from("navigate")).type).toBe("granted");
  });

  it("takes the token, and nothing that is like it", () => {
    const gate = access(TOKEN);
    expect(gate.judgeReader(bearer(TOKEN)).type).toBe("granted");
    for (const wrong of ["", TOKEN.slice(1), `${TOKEN} `, TOKEN.toUpperCase(), "null"])
      expect(gate.judgeReader(bearer(wrong)), wrong).toMatchObject({ status: 401 });
    expect(gate.judgeReader(request({ authorization: TOKEN }))).toMatchObject({ status: 401 });
    // RFC 9110 section 11.1: the name of a scheme is case-insensitive.
    expect(gate.judgeReader(request({ authorization: `bearer ${TOKEN}` })).type).toBe("granted");
    expect(gate.judgeReader(request({}))).toMatchObject({ status: 401 });
  });

  it("limits guesses by address, and those of one IPv6 network together", () => {
    const gate = access(TOKEN);
    const outcomes = Array.from({ length: 12 }, () => gate.judgeToken(bearer("wrong", "::ffff:192.0.2.9")));
    expect(outcomes.filter((one) => one.type === "denied" && one.status === 401)).toHaveLength(10);
    expect(gate.judgeToken(bearer(TOKEN, "192.0.2.9"))).toMatchObject({ status: 429 });
    expect(gate.judgeToken(bearer(TOKEN, "192.0.2.10")).type).toBe("granted");
    nowMs += 6_000;
    expect(gate.judgeToken(bearer(TOKEN, "192.0.2.9")).type).toBe("granted");
    for (let count = 0; count < 10; count += 1) gate.judgeToken(bearer("wrong", `2001:db8::${count}`));
    expect(gate.judgeToken(bearer(TOKEN, "2001:db8::ffff"))).toMatchObject({ status: 429 });
    expect(gate.judgeToken(bearer(TOKEN, "2001:db8:0:1::1")).type).toBe("granted");
  });

  it("keeps no more than a thousand guessers in mind, and lets new ones wait then", () => {
    const gate = access(TOKEN);
    for (let count = 0; count < 1_000; count += 1)
      gate.judgeToken(bearer("wrong", `10.0.${count >> 8}.${count & 255}`));
    expect(gate.judgeToken(bearer(TOKEN, "10.9.9.9"))).toMatchObject({ status: 429 });
    nowMs += 6_001;
    expect(gate.judgeToken(bearer(TOKEN, "10.9.9.9")).type).toBe("granted");
  });

  it("gives a cookie that lasts some hours, for this port and token alone", () => {
    const [cookie = ""] = access(TOKEN).sessionCookie().split(";");
    const reader = request({ cookie: `other=1; ${cookie}` });
    expect(access(TOKEN).judgeReader(reader).type).toBe("granted");
    expect(access(`${TOKEN}2`).judgeReader(reader)).toMatchObject({ status: 401 });
    expect(access(TOKEN, 8081).judgeReader(reader)).toMatchObject({ status: 401 });
    dateMs += 13 * 3600 * 1000;
    expect(access(TOKEN).judgeReader(reader)).toMatchObject({ status: 401 });
  });

  it("does not take a cookie whose end was moved", () => {
    const [cookie = ""] = access(TOKEN).sessionCookie().split(";");
    const moved = cookie.replace(/=\d+\./, "=99999999999.");
    expect(access(TOKEN).judgeReader(request({ cookie: moved }))).toMatchObject({ status: 401 });
    expect(access(TOKEN).judgeReader(request({ cookie: "tulle-ui-8080=" }))).toMatchObject({ status: 401 });
  });

  it("hides its cookie from scripts and other sites", () => {
    expect(access(TOKEN).sessionCookie()).toMatch(/; HttpOnly; SameSite=Strict$/);
  });
});
