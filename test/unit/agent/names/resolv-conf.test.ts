import { mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseResolvConf, ResolvConf } from "../../../../agent/names/resolv-conf.ts";
import { silentLogger } from "../../../../ipam/log.ts";

const hosts = (text: string) => parseResolvConf(text).map(({ host }) => host);

describe("resolv.conf", () => {
  it("names servers in order, at most three, each once", () => {
    expect(
      hosts("# x\nnameserver 192.0.2.1\n  nameserver\t127.0.0.53 \nsearch a\noptions ndots:0\n"),
    ).toEqual(["192.0.2.1", "127.0.0.53"]);
    const five = ["1", "1", "2", "3", "4"].map((last) => `nameserver 192.0.2.${last}`).join("\n");
    expect(hosts(five)).toEqual(["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    expect(hosts("nameserver fe80::1%eth0\nnameserver 2001:db8::1")).toEqual(["fe80::1%eth0", "2001:db8::1"]);
  });

  it("never leads to ourselves, and a line that is no address is skipped", () => {
    expect(hosts("nameserver 169.254.53.53\nnameserver 192.0.2.1")).toEqual(["192.0.2.1"]);
    expect(hosts("nameserver dns.example\nnameserver\n;nameserver 192.0.2.9\n")).toEqual([]);
  });
});

describe("following resolv.conf", () => {
  let folder = "";
  let nowMs = 0;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tulle-resolv-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("sees changes, replacements and another target of a link, and survives a missing file", () => {
    const [path, first, second] = ["resolv.conf", "a", "b"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(first, "nameserver 192.0.2.1\n");
    writeFileSync(second, "nameserver 192.0.2.2\n");
    symlinkSync(first, path);
    const file = new ResolvConf({ path, clock: { monotonicMs: () => nowMs }, logger: silentLogger });
    const now = () => {
      nowMs += 1000;
      return file.upstreams.map(({ host }) => host);
    };
    expect(now()).toEqual(["192.0.2.1"]);
    symlinkSync(second, `${path}.new`);
    renameSync(`${path}.new`, path);
    expect(now()).toEqual(["192.0.2.2"]);
    writeFileSync(second, "nameserver 192.0.2.33\n");
    expect(now()).toEqual(["192.0.2.33"]);
    unlinkSync(path);
    expect(now()).toEqual(["192.0.2.33"]);
    writeFileSync(path, "");
    expect(now()).toEqual([]);
  });
});
