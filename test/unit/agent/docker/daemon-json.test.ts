import { describe, expect, it } from "vitest";
import { editDaemonJson, parseDaemonJson } from "../../../../agent/docker/daemon-json.ts";
import { ConfigError } from "../../../../ipam/errors.ts";

const PATH = "/etc/docker/daemon.json";
const ADMIN = `{
    "log-driver" : "json-file",
    "log-opts": {"max-size": "10m", "note": "a } \\" , {"},
\t"dns": [ "1.1.1.1",   "9.9.9.9" ]
}
`;
const OURS = { bip: "10.2.54.1/24", mtu: 1450, "ip-masq": false };

describe("editing daemon.json", () => {
  it("keeps every byte of the administrator's settings", () => {
    const edited = editDaemonJson(ADMIN, OURS, PATH);
    expect(edited.startsWith(ADMIN.slice(0, ADMIN.lastIndexOf("]") + 1))).toBe(true);
    expect(JSON.parse(edited)).toEqual({ ...JSON.parse(ADMIN), ...OURS });
  });

  it("changes nothing a second time", () => {
    const edited = editDaemonJson(ADMIN, OURS, PATH);
    expect(editDaemonJson(edited, OURS, PATH)).toBe(edited);
  });

  it("takes its settings out again, byte for byte", () => {
    const edited = editDaemonJson(ADMIN, OURS, PATH);
    const nothing = { bip: undefined, mtu: undefined, "ip-masq": undefined };
    expect(editDaemonJson(edited, nothing, PATH)).toBe(ADMIN);
  });

  it("replaces a value in its place", () => {
    expect(editDaemonJson('{"mtu":9000,"a":1}', { mtu: 1450 }, PATH)).toBe('{"mtu":1450,"a":1}');
  });

  it.each([
    ['{"mtu": 1}', "{}"],
    ['{"mtu": 1, "a": 2}', '{"a": 2}'],
    ['{"a": {"mtu": 3}, "mtu": 1}', '{"a": {"mtu": 3}}'],
  ])("takes mtu out of %s", (text, expected) => {
    expect(editDaemonJson(text, { mtu: undefined }, PATH)).toBe(expected);
  });

  it.each(["", " \n", "{}"])("fills an empty file (%j)", (text) => {
    expect(JSON.parse(editDaemonJson(text, OURS, PATH))).toEqual(OURS);
  });

  it.each(['{"a": 1, // why\n}', '{"a": 1', "[]", '"text"', '{"a": 1, "a": 2}'])("refuses %s", (text) => {
    expect(() => parseDaemonJson(text, PATH)).toThrow(ConfigError);
    expect(() => editDaemonJson(text, OURS, PATH)).toThrow(PATH);
  });
});
