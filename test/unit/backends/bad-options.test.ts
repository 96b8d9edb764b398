/** Every option of every backend with values of a wrong type or range: one error with key, value and remedy. */

import { describe, expect, it } from "vitest";
import type { OptionDescription } from "../../../backends/backend.ts";
import { backendFor, describedOptions } from "../../../backends/registry.ts";
import { parseNetworkConfig } from "../../../ipam/config/network-config-parser.ts";
import { ConfigError } from "../../../ipam/errors.ts";
import type { JsonObject, JsonValue } from "../../../ipam/json.ts";
import { ADDRESSES, hostFacts, OWN_MAC } from "../../support/vxlan-fixture.ts";

/** No option of a kind accepts them. */
const WRONG: Readonly<Record<OptionDescription["kind"], readonly JsonValue[]>> = {
  number: ["8", "", true, 1.5, -1, 2 ** 32, [1], {}],
  text: [5, true, ["a"], { a: 1 }, "a\0b"],
  switch: ["true", "", 1, [true], {}],
};

const cases = [...describedOptions()].flatMap(([type, options]) =>
  options.flatMap(({ key, kind, isSecret = false }) =>
    WRONG[kind].map((value) => ({ type, key, value, isSecret })),
  ),
);

function parse(type: string, options: JsonObject) {
  const config = JSON.stringify({ Network: "10.2.0.0/16", Backend: { Type: type, ...options } });
  const parsed = parseNetworkConfig(config);
  return backendFor(parsed).parseOptions(parsed.backend.options);
}

function errorOf(run: () => unknown): unknown {
  try {
    run();
    return null;
  } catch (error) {
    return error;
  }
}

describe.each(cases)("$type with $key $value", ({ type, key, value, isSecret }) => {
  it("is one error that names the key, the value and the remedy", () => {
    for (const spelled of [key, key.toLowerCase()]) {
      const error = errorOf(() => parse(type, { [spelled]: value }));
      expect(error).toBeInstanceOf(ConfigError);
      const shown = isSecret ? "not valid" : JSON.stringify(value);
      expect((error as ConfigError).message).toMatch(/; write .{4,}$/);
      expect((error as ConfigError).message).toContain(`network config: Backend.${key} is ${shown}; `);
    }
  });
});

describe("a link whose MTU leaves too little for IPv6", () => {
  const overheads = { vxlan: 70, udp: 48, wireguard: 80 };

  it.each(Object.entries(overheads))("is one error of %s", (type, overheadBytes) => {
    const smallest = 1280 + overheadBytes;
    const prepare = (mtuBytes: number) =>
      parse(type, {}).prepare(hostFacts({ mtuBytes }, ADDRESSES), [4, 6], { macFor: () => OWN_MAC });
    expect(prepare(smallest).mtuBytes).toBe(1280);
    expect(() => prepare(smallest - 1)).toThrow(
      new RegExp(`MTU of under0 is ${smallest - 1}: .* set it to at least ${smallest}$`),
    );
  });
});
