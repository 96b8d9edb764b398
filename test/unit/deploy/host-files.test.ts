/** The files that keep the host's network managers away from tulle's devices. */

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { DEVICES, ETHERNET_DEVICES } from "../../support/device-names.ts";

const read = (name: string): string =>
  readFileSync(new URL(`../../../deploy/${name}`, import.meta.url), "utf8");

/** Devices that none of the patterns of these lines matches. */
function uncovered(devices: readonly string[], lines: readonly string[]): readonly string[] {
  const patterns = lines
    .flatMap((line) => line.split(/[ ;]/))
    .map((pattern) => new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`));
  return devices.filter((name) => !patterns.some((pattern) => pattern.test(name)));
}

it("names all devices for systemd-networkd, and those with a hardware address for udev", () => {
  const values = (file: string, key: string) =>
    [...read(file).matchAll(new RegExp(`^${key}=(.*)$`, "gm"))].map(([, value = ""]) => value);
  expect(uncovered(DEVICES, values("networkd/10-tulle.network", "Name"))).toEqual([]);
  expect(uncovered(ETHERNET_DEVICES, values("networkd/10-tulle.link", "OriginalName"))).toEqual([]);
});

it("adds all devices to those that NetworkManager leaves alone, in the one line that counts", () => {
  const lines = read("networkmanager/90-tulle.conf").split("\n");
  const [setting = "", ...more] = lines.filter((line) => line.startsWith("unmanaged-devices"));
  expect(more).toEqual([]);
  expect(setting).toMatch(/^unmanaged-devices\+=/);
  const value = setting.replace(/^.*?=/, "").replaceAll("interface-name:", "");
  expect(uncovered(DEVICES, [value])).toEqual([]);
});
