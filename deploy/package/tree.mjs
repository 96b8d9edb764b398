/**
 * What a package installs, and where: one table for all formats. The formats differ in a few folders (LAYOUTS) and in
 * where their licences belong.
 *
 * An entry has the `path` that it gets on the host, and one of
 *     file     a file of the build machine
 *     content  its bytes
 *     link     the target of a symbolic link
 *     isFolder a folder that may be empty; those of files need no entry
 * with `mode` where it is not 0644, or 0755 for a folder. An entry with `isConfig` belongs to the administrator: an
 * upgrade keeps changes of it.
 */

import { readFileSync } from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { ROOT } from "../bundles.mjs";
import { documents } from "./documents.mjs";
import { filesBelow } from "./files-below.mjs";

const DOC = "/usr/share/doc/tulle";
const UNITS = "/usr/lib/systemd/system";

/** Folders that distributions name differently. */
export const LAYOUTS = {
  debian: { cni: "/usr/lib/cni", zsh: "/usr/share/zsh/vendor-completions" },
  fedora: { cni: "/usr/libexec/cni", zsh: "/usr/share/zsh/site-functions" },
  /** Of other systems, below any prefix. */
  generic: { cni: "/usr/lib/cni", zsh: "/usr/share/zsh/site-functions" },
};

/** Files of deploy/ and their folders on the host. */
const HOST_FILES = [
  ["systemd/tulled.service", UNITS],
  ["systemd/tulle-docker.service", UNITS],
  ["systemd/tulle-docker.path", UNITS],
  ["modules-load.d/tulle.conf", "/usr/lib/modules-load.d"],
  ["sysctl.d/90-tulle.conf", "/usr/lib/sysctl.d"],
  ["networkd/10-tulle.link", "/usr/lib/systemd/network"],
  ["networkd/10-tulle.network", "/usr/lib/systemd/network"],
  ["networkmanager/90-tulle.conf", "/usr/lib/NetworkManager/conf.d"],
  // Examples: with this drop-in Docker waits for tulled, on a host without its settings forever.
  ["systemd/docker.service.d/10-tulle.conf", `${DOC}/examples/docker.service.d`],
  ["cni/10-flannel.conflist", `${DOC}/examples`],
  ...["alerts.yml", "dashboard.json", "prometheus.yml"].map((name) => [
    `monitoring/${name}`,
    `${DOC}/examples/monitoring`,
  ]),
];

/**
 * All entries, sorted by path. `share` is a folder with manual pages and completions, as writeManual fills it; `sbom` and
 * `licences` are texts.
 */
export function packageTree({ executable, share, sbom, layout }) {
  const entries = [
    ...programs(executable, layout),
    ...HOST_FILES.map(([source, folder]) => deployFile(source, folder)),
    // It may hold a password.
    { ...deployFile("package/etc/tulled", "/etc/default"), mode: 0o600, isConfig: true },
    ...manualPages(share),
    ...completions(share, layout),
    ...documents(DOC),
    { path: `${DOC}/sbom.cdx.json`, content: Buffer.from(sbom) },
  ];
  return sortEntries(entries);
}

export function sortEntries(entries) {
  return [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The executable is the program that it is called as; links name it. */
export function programs(executable, layout) {
  return [
    { path: "/usr/bin/tulle", file: executable, mode: 0o755 },
    ...["tulled", "tulle-cni", "tulle-netavark"].map((name) => ({ path: `/usr/bin/${name}`, link: "tulle" })),
    { path: `${layout.cni}/tulle-cni`, link: "../../bin/tulle-cni" },
    // podman looks for the name of the network's driver, in the folders of netavark_plugin_dirs (containers.conf(5)).
    { path: "/usr/lib/netavark/tulle", link: "../../bin/tulle-netavark" },
  ];
}

/** The files of deploy/ for a host, in the folders that they have there. */
export function hostFiles() {
  return HOST_FILES.map(([source]) =>
    deployFile(source, path.posix.join("deploy", path.posix.dirname(source))),
  );
}

function deployFile(source, folder) {
  return { path: path.posix.join(folder, path.basename(source)), file: path.join(ROOT, "deploy", source) };
}

function manualPages(share) {
  return filesBelow(path.join(share, "man")).map((name) => ({
    path: `/usr/share/man/${name}.gz`,
    content: compress(readFileSync(path.join(share, "man", name))),
  }));
}

function completions(share, layout) {
  return [
    ["bash-completion/completions", "/usr/share/bash-completion/completions"],
    ["fish/vendor_completions.d", "/usr/share/fish/vendor_completions.d"],
    ["zsh/site-functions", layout.zsh],
  ].flatMap(([source, folder]) =>
    filesBelow(path.join(share, source)).map((name) => ({
      path: `${folder}/${name}`,
      file: path.join(share, source, name),
    })),
  );
}

/** gzip without name and time: its bytes depend on the text only. */
export function compress(bytes) {
  return gzipSync(bytes, { level: 9 });
}
