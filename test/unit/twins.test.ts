/** No part of the product exists once for IPv4 and once more for IPv6: a loop over families does both. */

import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const FOLDERS = ["agent", "backends", "cni-plugin", "ipam"];

const files = FOLDERS.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${folder}/${name}`),
);

/** Names that are not ours to choose, or whose two sides have nothing in common. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  "ipam/addresses/ip.ts": "the text forms of the two families are two grammars",
  "ipam/leases/lease-codec.ts": "the groups of one pattern, which holds the prefixes of both",
  "agent/network/network-config-text.ts": "the keys of flannel's network configuration",
  "agent/docker/dockerd-options.ts": "the options of dockerd",
  "agent/named-networks/create-request.ts": "the options of docker network create",
  "agent/docker-driver/network-request.ts": "the fields of the Docker Engine API",
};

/** Code without comments and texts, whose words do not count; what a template inserts stays. */
function namesIn(code: string): ReadonlySet<string> {
  const bare = code
    .replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "")
    .replace(/"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, '""')
    .replace(/`(?:[^`\\]|\\.)*`/g, (text) => (text.match(/\$\{[^}]*\}/g) ?? []).join(" "));
  return new Set(bare.match(/[A-Za-z_][\w]*/g) ?? []);
}

/** What the same thing of IPv4, or of no family, would be called; the kernel's own names, such as `AF_INET6`, are left out. */
function counterparts(name: string): readonly string[] {
  if (!/[a-z]/.test(name)) return [];
  const marked = name.match(/(?:IPv|[Ii]pv|V|v)6|(?<=[a-z])6(?=[A-Z]|$)/)?.[0];
  if (marked === undefined) return [];
  const bare = name.replace(marked, "");
  const unmarked = new Set([bare, bare.charAt(0).toLowerCase() + bare.slice(1)]);
  return [name.replace(marked, marked.replace("6", "4")), ...(bare === "has" ? [] : unmarked)];
}

const twinsIn = (code: string): readonly string[] => {
  const names = namesIn(code);
  return [...names].flatMap((name) =>
    counterparts(name)
      .filter((other) => other !== name && names.has(other))
      .map((other) => `${other} ${name}`),
  );
};

it.each([
  ["function encodeV4() {} function encodeV6() {}", ["encodeV4 encodeV6"]],
  ["interface A { network: string; ipv6Network: string }", ["network ipv6Network"]],
  ["const a = { publicIp: 1, publicIpv6: 2 }", []],
  ["const a = { subnet: 1, subnet6: 2 }", ["subnet subnet6"]],
  ["const AF_INET = 2, AF_INET6 = 10; // networkV4 networkV6", []],
])("finds twins: %s", (code, twins) => {
  expect(twinsIn(code)).toEqual(twins);
});

it("has no names for IPv6 beside the same for IPv4", () => {
  expect(files.length).toBeGreaterThan(300);
  const twins = new Map(files.map((file) => [file, twinsIn(readFileSync(file, "utf8"))]));
  const found = [...twins].filter(([file, names]) => names.length > 0 && EXCEPTIONS[file] === undefined);
  expect(found).toEqual([]);
  expect(Object.keys(EXCEPTIONS).filter((file) => (twins.get(file) ?? []).length === 0)).toEqual([]);
});
