/** What is in the packages: the same bytes each time, licences, bills of materials, units that fit. */

import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { type PackageFormat, writePackages } from "../../../deploy/package/formats.mjs";

const hasRpm = spawnSync("rpmbuild", ["--version"]).status === 0 || process.env.CI;
const FORMATS: readonly PackageFormat[] = [
  "deb",
  ...(hasRpm ? (["rpm"] as const) : []),
  ...(["tarball", "npm", "oci", "sbom"] as const),
];

interface Component {
  readonly name: string;
  readonly version?: string;
  readonly licenses?: readonly { readonly license?: { readonly id: string }; readonly expression?: string }[];
  readonly hashes?: readonly { readonly content: string }[];
  readonly components?: readonly Component[];
}

describe.skipIf(process.getuid?.() !== 0)("packages (needs root, because of Debian's packages)", () => {
  const folder = mkdtempSync(join(tmpdir(), "tulle-contents-"));
  const [one, two] = [join(folder, "one"), join(folder, "two")];

  /** Everything but the executable, whose place a short text takes. */
  beforeAll(async () => {
    const executable = join(folder, "executable");
    writeFileSync(executable, "in place of the executable\n", { mode: 0o755 });
    const options = { ...inject("built"), executable, version: "0.1.0", isFast: true };
    await writePackages(options, one, FORMATS);
    const umask = process.umask(0o077);
    try {
      await writePackages(options, two, FORMATS);
    } finally {
      process.umask(umask);
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const digests = (place: string): Record<string, string> =>
    Object.fromEntries(
      readdirSync(place)
        .sort()
        .map((name) => [
          name,
          createHash("sha256")
            .update(readFileSync(join(place, name)))
            .digest("hex"),
        ]),
    );

  /** The files of the Debian package, unpacked. */
  function unpacked(): string {
    const target = join(folder, "unpacked");
    mkdirSync(target, { recursive: true });
    const [name = ""] = readdirSync(one).filter((file) => file.endsWith(".deb"));
    execFileSync("dpkg-deb", ["--extract", join(one, name), target]);
    return target;
  }

  it("have the same bytes in every build", () => {
    expect(Object.keys(digests(one))).toHaveLength(FORMATS.length + 1);
    expect(digests(two)).toEqual(digests(one));
  });

  it("leave no part of a file when the tool that writes it fails", async () => {
    const [bin, out] = [join(folder, "bin"), join(folder, "failed")];
    for (const made of [bin, out]) mkdirSync(made);
    const script = '#!/bin/sh\nfor last; do :; done\necho part > "$last"\nexit 2\n';
    writeFileSync(join(bin, "dpkg-deb"), script, { mode: 0o755 });
    const executable = join(folder, "executable");
    const options = { ...inject("built"), executable, version: "0.1.0", isFast: true };
    vi.stubEnv("PATH", `${bin}:${process.env.PATH}`);
    try {
      await expect(writePackages(options, out, ["deb"])).rejects.toThrow("dpkg-deb failed (exit code 2)");
    } finally {
      vi.unstubAllEnvs();
    }
    expect(readdirSync(out)).toEqual([]);
  });

  it("list in the bill of materials what is inside, with licences and digests", () => {
    const [name = ""] = readdirSync(one).filter((file) => file.endsWith(".cdx.json"));
    const { bomFormat, components, metadata } = JSON.parse(readFileSync(join(one, name), "utf8"));
    expect({ bomFormat, component: metadata.component.name }).toEqual({
      bomFormat: "CycloneDX",
      component: "tulle",
    });
    const all: readonly Component[] = components;
    expect(all.map((component) => component.name)).toEqual(
      expect.arrayContaining(["@grpc/grpc-js", "commander", "etcd3", "yaml"]),
    );
    const runtime = all.find((component) => component.name.startsWith("@oven/bun-"));
    expect(runtime?.components?.map((part) => part.name)).toContain("JavaScriptCore");
    for (const { licenses, hashes, version, name: component } of all) {
      expect(licenses, component).toHaveLength(1);
      expect(version, component).toMatch(/^\d/);
      expect(hashes?.[0]?.content, component).toMatch(/^[\da-f]{128}$/);
    }
  });

  it("have the licence of every part", () => {
    const licences = readFileSync(join(unpacked(), "usr/share/doc/tulle/copyright"), "utf8");
    const sbom = JSON.parse(readFileSync(join(unpacked(), "usr/share/doc/tulle/sbom.cdx.json"), "utf8"));
    const names: readonly string[] = sbom.components.map((component: Component) => component.name);
    expect(names.filter((name) => !licences.includes(`\n${name} `))).toEqual([]);
    expect(licences).toContain("Apache License");
    expect(licences).toContain("GNU LIBRARY GENERAL PUBLIC LICENSE");
    expect(licences).not.toContain("carries no licence text");
  });

  it("name the licences of the runtime in the manifest of the executable's npm package", () => {
    const [archive = ""] = readdirSync(one).filter((file) => /^tulle-linux-.*\.tgz$/.test(file));
    const text = execFileSync("tar", ["-xzO", "-f", join(one, archive), "package/package.json"]).toString();
    expect(JSON.parse(text).license.split(" AND ")).toEqual(
      expect.arrayContaining(["Apache-2.0", "MIT", "LGPL-2.0-or-later"]),
    );
  });

  it("install the programs and documents that the units name", () => {
    const root = unpacked();
    const units = join(root, "usr/lib/systemd/system");
    const text = readdirSync(units)
      .map((name) => readFileSync(join(units, name), "utf8"))
      .join("\n");
    const named = [...text.matchAll(/^(?:ExecStart=|Documentation=file:)(\S+)/gm)].map(([, file]) => file);
    expect(named.length).toBeGreaterThan(3);
    for (const file of named) expect(execFileSync("ls", [join(root, file ?? "")]).toString()).not.toBe("");
  });

  it("name Debian's packages in the image's bill of materials, and all licences in its label", () => {
    const [archive = ""] = readdirSync(one).filter((file) => file.includes("-oci-"));
    const blobs = join(folder, "image");
    mkdirSync(blobs);
    execFileSync("tar", ["-xf", join(one, archive), "-C", blobs]);
    const [{ Layers, Config }] = JSON.parse(readFileSync(join(blobs, "manifest.json"), "utf8"));
    const inLayer = (name: string): string =>
      execFileSync("tar", ["-xzO", "-f", join(blobs, Layers[0]), name]).toString();
    const { components } = JSON.parse(inLayer("./usr/share/doc/tulle/sbom.cdx.json"));
    const libc = components.find((component: Component) => component.name === "libc6");
    expect(libc.purl).toMatch(/^pkg:deb\/debian\/libc6@\d/);
    expect(inLayer("./usr/share/doc/nftables/copyright")).toContain("GPL-2");
    const { config } = JSON.parse(readFileSync(join(blobs, Config), "utf8"));
    expect(config.Entrypoint).toEqual(["/usr/bin/tulled"]);
    const label: string = config.Labels["org.opencontainers.image.licenses"];
    const terms = label.split(" AND ");
    expect(new Set(terms).size).toBe(terms.length);
    expect(terms).toEqual(
      expect.arrayContaining(["(LGPL-3.0-or-later OR GPL-2.0-or-later)", "GPL-2.0-only"]),
    );
    const licencesOf = ({ licenses = [], components: parts = [] }: Component): readonly string[] => [
      ...licenses.map(({ license, expression = "" }) => license?.id ?? expression),
      ...parts.flatMap(licencesOf),
    ];
    const listed: readonly string[] = components.flatMap(licencesOf);
    expect(listed.length).toBeGreaterThan(components.length);
    const missing = listed.flatMap((each) => (each.includes(" OR ") ? [`(${each})`] : each.split(" AND ")));
    expect(missing.filter((each) => !terms.includes(each))).toEqual([]);
  });
});
