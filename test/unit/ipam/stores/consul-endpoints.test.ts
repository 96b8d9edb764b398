import { describe, expect, it } from "vitest";
import { parseConsulEndpoints } from "../../../../ipam/stores/consul/endpoints.ts";
import type { ConsulOptions } from "../../../../ipam/stores/options.ts";

const parse = (address: string, options: Partial<ConsulOptions> = {}) =>
  parseConsulEndpoints({ addresses: [address], ...options });

describe("addresses of Consul", () => {
  it.each([
    ["127.0.0.1:8500", {}, "http://127.0.0.1:8500", "127.0.0.1", false],
    ["http://consul.test:8500/", {}, "http://consul.test:8500", "consul.test", false],
    ["https://consul.test", {}, "https://consul.test:443", "consul.test", true],
    ["HTTPS://consul.test:8501", {}, "https://consul.test:8501", "consul.test", true],
    ["consul.test", {}, "http://consul.test:80", "consul.test", false],
    ["[fd00::1]:8500", {}, "http://[fd00::1]:8500", "fd00::1", false],
    ["consul.test:8501", { caFile: "ca.pem" }, "https://consul.test:8501", "consul.test", true],
    ["consul.test:8501", { useTls: true }, "https://consul.test:8501", "consul.test", true],
    ["http://consul.test:8501", { useTls: true }, "https://consul.test:8501", "consul.test", true],
  ] as const)("%s with %o is %s", (address, options, url, host, isTls) => {
    expect(parse(address, options)).toMatchObject([{ url, host, isTls, socketPath: null }]);
  });

  it("a unix socket has a path and no host", () => {
    const [endpoint] = parse("unix:///run/consul.sock");
    expect(endpoint).toMatchObject({ socketPath: "/run/consul.sock", host: null, isTls: false });
  });

  it("several, with blanks", () => {
    expect(parse("a:1, b:2 ,").map(({ url }) => url)).toEqual(["http://a:1", "http://b:2"]);
  });

  it.each(["", " , ", "ftp://a:1", "a:1/path", "http://user:pw@a:1", "unix://relative", "a:port", "http://"])(
    "%j is refused",
    (address) => expect(() => parse(address)).toThrow(expect.objectContaining({ code: "TULLE_CONFIG" })),
  );

  it.each(["http://me:secret@a:1", "me:secret@a:1", "ftp://me:secret@a:1", "http://:secret@a:1/path"])(
    "%j is refused without showing the password",
    (address) => {
      for (const options of [{}, { caFile: "ca.pem" }]) {
        expect(() => parse(address, options)).toThrow(/^consul-address: (?!.*secret)/);
      }
    },
  );

  it("certificate files for a plaintext address are refused, not ignored", () => {
    expect(() => parse("http://a:1", { caFile: "ca.pem" })).toThrow(/plaintext/);
  });
});
