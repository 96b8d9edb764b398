/**
 * Bun's runtime for a processor: the npm package that is installed, or for another processor than this machine's, the
 * same version from the registry, checked against package-lock.json and kept in .lab/.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { ROOT } from "../bundles.mjs";

/** The x64 variant for all processors: the other one needs AVX2. */
const PACKAGES = { x64: "@oven/bun-linux-x64-baseline", arm64: "@oven/bun-linux-aarch64" };

/** Processors that the executable can be made for. */
export const ARCHITECTURES = Object.keys(PACKAGES);

/** Whether npm has installed a Bun that runs on this machine. */
export function hasCompiler() {
  const name = PACKAGES[process.arch];
  return name !== undefined && spawnSync(installed(name), ["--version"]).status === 0;
}

/** The runtime's file and its package. Throws with a remedy when it cannot be had. */
export function runtimeFor(arch) {
  const name = PACKAGES[arch];
  if (name === undefined) throw new Error(`arch "${arch}": take one of ${ARCHITECTURES.join(", ")}`);
  if (existsSync(installed(name))) return { name, file: installed(name) };
  if (arch === process.arch)
    throw new Error(`${name} is not installed: run npm ci without --omit=optional, on Linux with glibc`);
  return { name, file: fetched(name) };
}

function installed(name) {
  return path.join(ROOT, "node_modules", name, "bin/bun");
}

function fetched(name) {
  const { version, integrity } = lockedPackage(name);
  const folder = path.join(ROOT, ".lab/bun", `${path.basename(name)}-${version}`);
  const file = path.join(folder, "package/bin/bun");
  if (existsSync(file)) return file;
  mkdirSync(path.dirname(folder), { recursive: true });
  const fresh = mkdtempSync(`${folder}-`);
  try {
    const pack = ["pack", "--silent", "--pack-destination", fresh, `${name}@${version}`];
    const archive = path.join(fresh, execFileSync("npm", pack, { encoding: "utf8" }).trim());
    requireIntegrity(archive, integrity);
    execFileSync("tar", ["--extract", "--file", archive, "--directory", fresh]);
    rmSync(archive);
    renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return file;
}

function lockedPackage(name) {
  const lock = JSON.parse(readFileSync(path.join(ROOT, "package-lock.json"), "utf8"));
  return lock.packages[`node_modules/${name}`];
}

/** `integrity` as package-lock.json has it: an algorithm and a digest (Subresource Integrity). */
function requireIntegrity(file, integrity) {
  const algorithm = integrity.slice(0, integrity.indexOf("-"));
  const digest = `${algorithm}-${createHash(algorithm).update(readFileSync(file)).digest("base64")}`;
  if (digest !== integrity) throw new Error(`${file}: its digest differs from that in package-lock.json`);
}
