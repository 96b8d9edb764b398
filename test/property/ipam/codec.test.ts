/** Whatever stands in the store or in a file: it decodes to what was encoded, or it is a CodecError. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ADDRESS_BITS,
  Address,
  compactPerFamily,
  entriesOf,
  type Family,
  mapFamilies,
  type PerFamily,
  Prefix,
} from "../../../ipam/addresses/ip.ts";
import { parseNetworkConfig } from "../../../ipam/config/network-config-parser.ts";
import { formatSubnetEnv, parseSubnetEnv, type SubnetEnv } from "../../../ipam/config/subnet-env.ts";
import { CodecError, ConfigError } from "../../../ipam/errors.ts";
import type { JsonValue } from "../../../ipam/json.ts";
import type { LeaseAttrs } from "../../../ipam/leases/lease.ts";
import {
  decodeEntry,
  formatLeaseKey,
  formatLeaseValue,
  parseLeaseKey,
  parseLeaseValue,
  readStrayKey,
} from "../../../ipam/leases/lease-codec.ts";
import { entry, value } from "../../support/lease-fixture.ts";

const addressOf = (family: Family, min = 1n) =>
  fc.bigInt({ min, max: (1n << BigInt(ADDRESS_BITS[family])) - 1n }).map((bits) => Address.of(family, bits));

/** Either family, or both. */
function perFamily<T>(v4: fc.Arbitrary<T>, v6: fc.Arbitrary<T>): fc.Arbitrary<PerFamily<T>> {
  return fc.oneof(
    v4.map((four): PerFamily<T> => ({ 4: four })),
    v6.map((six): PerFamily<T> => ({ 6: six })),
    fc.tuple(v4, v6).map(([four, six]): PerFamily<T> => ({ 4: four, 6: six })),
  );
}

/** JSON has no undefined, no -0, and null counts as absent. */
const data = fc
  .jsonValue({ noUnicodeString: false })
  .map((one) => JSON.parse(JSON.stringify(one)) as JsonValue)
  .filter((one) => one !== null);

const offer = {
  backendType: fc.string(),
  backendData: fc.oneof(fc.constant({}), perFamily(data, data)),
};

const leaseAttrs: fc.Arbitrary<LeaseAttrs> = fc.record(
  {
    publicAddress: perFamily(addressOf(4), addressOf(6)),
    ...offer,
    otherBackends: fc.array(fc.record(offer), { minLength: 1, maxLength: 4 }),
    nodeId: fc.option(
      fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 32, maxLength: 32 }),
    ),
  },
  { requiredKeys: ["publicAddress", "backendType", "backendData", "nodeId"] },
);

const prefixOf = (family: Family) =>
  fc
    .tuple(addressOf(family, 0n), fc.integer({ min: 0, max: ADDRESS_BITS[family] }))
    .map(([base, length]) => Prefix.of(base, length));

describe("a lease", () => {
  it("decodes to what was encoded", () => {
    fc.assert(
      fc.property(leaseAttrs, (attrs) => {
        expect(parseLeaseValue(formatLeaseValue(attrs))).toEqual(attrs);
      }),
    );
  });

  it("cut at any place is a CodecError", () => {
    const text = value(5);
    for (let length = 0; length < text.length; length++) {
      const stored = entry("10.2.5.0-24", 5, { value: text.slice(0, length) });
      expect(() => decodeEntry(stored)).toThrow(CodecError);
    }
  });

  it("of any text decodes or is a CodecError", () => {
    const texts = fc.oneof(
      fc.string(),
      fc.json(),
      fc.json().map((json) => `{"PublicIP":${json},"BackendData":${json}}`),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          parseLeaseValue(text);
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError);
        }
      }),
    );
  });
});

describe("a lease key", () => {
  it("reads back, and flanneld would read the same", () => {
    fc.assert(
      fc.property(fc.option(prefixOf(4)), fc.option(prefixOf(6)), (four, six) => {
        const subnets = compactPerFamily<Prefix>((family) => (family === 4 ? four : six) ?? undefined);
        fc.pre(entriesOf(subnets).length > 0 && four?.base.toString() !== "0.0.0.0");
        const key = formatLeaseKey(subnets);
        expect(formatLeaseKey(parseLeaseKey(key))).toBe(key);
        expect(formatLeaseKey(readStrayKey(`some/folder/${key}`) ?? {})).toBe(key);
      }),
    );
  });

  it("of any text is canonical or a CodecError", () => {
    const unit = fc.constantFrom(..."0123456789.-&:abcdef/ ", "10.2.3.0-24", "fd00::-64");
    fc.assert(
      fc.property(fc.string({ unit }), (key) => {
        try {
          expect(formatLeaseKey(parseLeaseKey(key))).toBe(key.replace(/^0\.0\.0\.0-\d+&/, "0.0.0.0-0&"));
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError);
        }
      }),
    );
  });
});

describe("a network config", () => {
  it("of any text is valid or a ConfigError", () => {
    const field = fc.constantFrom(
      "Network",
      "SubnetLen",
      "SubnetMin",
      "SubnetMax",
      "EnableIPv6",
      "IPv6Network",
      "Backend",
    );
    const word = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom("10.2.0.0/16", "10.2.5.0", "fd00::/48", 24, true, { Type: "vxlan" }),
    );
    fc.assert(
      fc.property(fc.dictionary(field, word), (config) => {
        const text = JSON.stringify({ Network: "10.2.0.0/16", ...config });
        try {
          const { families } = parseNetworkConfig(text);
          for (const { network, subnetMin, subnetMax } of Object.values(families)) {
            expect(network.contains(subnetMin) && network.contains(subnetMax)).toBe(true);
            expect(subnetMin.value <= subnetMax.value).toBe(true);
          }
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
        }
      }),
    );
  });
});

describe("subnet.env", () => {
  const part = (family: Family) =>
    fc.record({
      networks: fc.array(prefixOf(family), { minLength: 1, maxLength: 3 }),
      subnet: fc.record({
        address: addressOf(family, 0n),
        length: fc.integer({ min: 0, max: ADDRESS_BITS[family] }),
      }),
    });
  const subnetEnv = fc.record({
    families: perFamily(part(4), part(6)),
    mtuBytes: fc.integer({ min: 1, max: 999_999 }),
    ipMasq: fc.boolean(),
  });

  it("of either family or both reads back, and cut at any place is whole or a CodecError", () => {
    fc.assert(
      fc.property(subnetEnv, ({ families, mtuBytes, ipMasq }) => {
        const env: SubnetEnv = {
          networks: mapFamilies(families, ({ networks }) => networks),
          subnets: mapFamilies(families, ({ subnet }) => subnet),
          mtuBytes,
          ipMasq,
        };
        const text = formatSubnetEnv(env);
        expect(parseSubnetEnv(text)).toEqual(env);
        for (let length = 0; length < text.length - 1; length++) {
          expect(() => parseSubnetEnv(text.slice(0, length))).toThrow(CodecError);
        }
        expect(parseSubnetEnv(text.slice(0, -1))).toEqual(env);
      }),
      { numRuns: 30 },
    );
  });

  it("that could not be read back is not written", () => {
    const env = parseSubnetEnv(
      "FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=10.2.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
    );
    for (const wrong of [
      { ...env, networks: {} },
      { ...env, subnets: {} },
      { ...env, networks: { 4: [] } },
      { ...env, networks: {}, subnets: {} },
      { ...env, mtuBytes: 0 },
      { ...env, mtuBytes: Number.NaN },
    ])
      expect(() => formatSubnetEnv(wrong)).toThrow(CodecError);
  });
});
