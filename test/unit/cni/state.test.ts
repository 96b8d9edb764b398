/** Records of attachments against a real folder. */

import { execFileSync } from "node:child_process";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { shortDigest } from "../../../backends/attachment/digest.ts";
import { Undo } from "../../../backends/attachment/undo.ts";
import { parseResolvConf } from "../../../cni-plugin/host/resolv-conf.ts";
import { AttachmentStates } from "../../../cni-plugin/host/state.ts";

let dir = "";
let states: AttachmentStates;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "tulle-cni-state-"));
  states = new AttachmentStates(path.join(dir, "state"), "net");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const ATTACHMENT = { containerId: "abc", interfaceName: "eth0" };
const file = (name: string) => path.join(dir, "state", name);

it("keeps networks, containers and interfaces apart, for root alone", () => {
  const others = [
    { ...ATTACHMENT, interfaceName: "eth1" },
    { ...ATTACHMENT, containerId: "abd" },
  ];
  states.write(ATTACHMENT, { type: "bridge" });
  for (const other of others) expect(states.read(other)).toBeNull();
  expect(new AttachmentStates(path.join(dir, "state"), "other").read(ATTACHMENT)).toBeNull();
  expect(states.read(ATTACHMENT)).toEqual({ type: "bridge" });
  expect(statSync(file("net:abc:eth0")).mode & 0o777).toBe(0o600);
  expect(statSync(path.join(dir, "state")).mode & 0o777).toBe(0o700);
});

it("reads names in any case in flannel's records, which keep them as the configuration has them", () => {
  states.write(ATTACHMENT, {});
  writeFileSync(file("older"), JSON.stringify({ name: "net", ipmasq: true, ipam: { DataDir: "/d" } }));
  const record = states.read({ containerId: "older", interfaceName: "eth0" });
  expect(record).toEqual({ name: "net", ipMasq: true, ipam: { dataDir: "/d" } });
});

it("lists own and flannel's records, and unfinished ones", () => {
  states.write(ATTACHMENT, {});
  writeFileSync(file(":new:net:killed:eth0"), "{");
  writeFileSync(file("other:abc:eth0"), "{}");
  writeFileSync(file("older"), JSON.stringify({ name: "net" }));
  writeFileSync(file("foreign"), JSON.stringify({ name: "other" }));
  expect([...states.list()].sort((a, b) => (a.containerId < b.containerId ? -1 : 1))).toEqual([
    ATTACHMENT,
    { containerId: "killed", interfaceName: "eth0" },
    { containerId: "older", interfaceName: "" },
  ]);
  for (const attachment of states.list()) states.remove(attachment);
  expect(readdirSync(path.join(dir, "state")).sort()).toEqual(["foreign", "other:abc:eth0"]);
});

it("gives the first attachment flannel's name too, and takes it away with that attachment", () => {
  const second = { ...ATTACHMENT, interfaceName: "eth1" };
  states.write(ATTACHMENT, { name: "net", mtu: 1 });
  states.write(second, { name: "net", mtu: 2 });
  expect(JSON.parse(readFileSync(file("abc"), "utf8"))).toEqual({ name: "net", mtu: 1 });
  expect(states.list()).toHaveLength(2);
  states.remove(second);
  expect(readdirSync(path.join(dir, "state")).sort()).toEqual(["abc", "net:abc:eth0"]);
  states.remove(ATTACHMENT);
  expect(readdirSync(path.join(dir, "state"))).toEqual([]);
});

it("leaves flannel's name to another network", () => {
  const other = new AttachmentStates(path.join(dir, "state"), "other");
  other.write(ATTACHMENT, { name: "other" });
  states.write(ATTACHMENT, { name: "net" });
  states.remove(ATTACHMENT);
  expect(readdirSync(path.join(dir, "state")).sort()).toEqual(["abc", "other:abc:eth0"]);
});

it.each<[string, (file: string) => void]>([
  ["a file too large for a record", (name) => writeFileSync(name, Buffer.alloc(2 << 20, " "))],
  ["a symbolic link", (name) => symlinkSync(path.join(dir, "elsewhere"), name)],
  ["a FIFO", (name) => execFileSync("mkfifo", [name])],
])("takes %s for no record, and lists the others", (_, place) => {
  states.write(ATTACHMENT, { name: "net" });
  writeFileSync(path.join(dir, "elsewhere"), JSON.stringify({ name: "net" }));
  for (const name of ["foreign", "net:damaged:eth0"]) place(file(name));
  const damaged = { containerId: "damaged", interfaceName: "eth0" };
  expect([states.read(damaged), states.read({ ...ATTACHMENT, containerId: "foreign" })]).toEqual([
    null,
    null,
  ]);
  expect(states.list()).toEqual([ATTACHMENT, damaged]);
  states.remove(damaged);
  expect(states.list()).toEqual([ATTACHMENT]);
});

it("takes a damaged record for none and never leaves its folder", () => {
  states.write(ATTACHMENT, {});
  for (const text of ["", "{", "[]", "5"]) {
    writeFileSync(file("net:abc:eth0"), text);
    expect(states.read(ATTACHMENT)).toBeNull();
  }
  writeFileSync(path.join(dir, "outside"), JSON.stringify({ name: "net" }));
  const evil = { containerId: "../outside", interfaceName: "" };
  expect(states.read(evil)).toBeNull();
  states.remove(evil);
  expect(readdirSync(dir)).toContain("outside");
});

it("undoes the last step first and goes on after a failure", async () => {
  const done: number[] = [];
  const undo = new Undo();
  undo.push(() => done.push(1));
  undo.push(() => {
    throw new Error("stuck");
  });
  undo.push(async () => {
    await Promise.resolve();
    done.push(3);
  });
  expect(await undo.run()).toEqual([new Error("stuck")]);
  expect(done).toEqual([3, 1]);
  expect(await undo.run()).toEqual([]);
});

it("gives names that differ from the first digits on", () => {
  const names = Array.from({ length: 5000 }, (_, index) =>
    shortDigest(`net\ncontainer${index}\neth0`).slice(0, 11),
  );
  expect(new Set(names).size).toBe(5000);
  expect(names.every((name) => /^[0-9a-f]{11}$/.test(name))).toBe(true);
});

it("reads resolv.conf as the resolver does", () => {
  const text =
    "# comment\nnameserver 192.0.2.1\nnameserver 192.0.2.2\ndomain a\nsearch b\nsearch c d\noptions ndots:5\n";
  expect(parseResolvConf(text)).toEqual({
    nameservers: ["192.0.2.1", "192.0.2.2"],
    domain: "a",
    search: ["c", "d"],
    options: ["ndots:5"],
  });
  expect(parseResolvConf("")).toEqual({});
});
