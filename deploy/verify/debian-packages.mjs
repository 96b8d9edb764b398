/**
 * Installs the Debian packages that the tests need and that this machine lacks.
 *
 * No daemon that a package brings is started: the tests start their own, in network namespaces.
 */

import { spawnSync } from "node:child_process";
import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";

/** A program that tests run, and the Debian package it comes in. */
const NEEDED = {
  etcd: "etcd-server",
  etcdctl: "etcd-client",
  dig: "bind9-dnsutils",
  ip: "iproute2",
  nft: "nftables",
  iptables: "iptables",
  ping: "iputils-ping",
  sysctl: "procps",
  openssl: "openssl",
  curl: "curl",
  python3: "python3",
  dockerd: "docker.io",
  busybox: "busybox-static",
  "systemd-nspawn": "systemd-container",
  firewalld: "firewalld",
  "dbus-daemon": "dbus",
  podman: "podman",
  containerd: "containerd",
  runc: "runc",
  "qemu-system-x86_64": "qemu-system-x86",
  debootstrap: "debootstrap",
  chromium: "chromium",
  groff: "groff-base",
  zsh: "zsh",
  fish: "fish",
  prometheus: "prometheus",
  rpmbuild: "rpm",
  wg: "wireguard-tools",
  readelf: "binutils",
  "qemu-aarch64": "qemu-user",
  // The C library of the other processor: a file beside the folders of programs.
  "../aarch64-linux-gnu/lib/ld-linux-aarch64.so.1": "libc6-arm64-cross",
};

const POLICY = "/usr/sbin/policy-rc.d";
const POLICY_ASIDE = `${POLICY}.before-tulle`;
const SEARCH_PATH = [...(process.env.PATH ?? "").split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"];

/** Installs what is missing. Without root or apt-get it only says what is missing: those tests are skipped. */
export function installMissingPackages() {
  const missing = Object.entries(NEEDED).filter(([program]) => !isInstalled(program));
  const names = missing.map(([, name]) => name).join(" ");
  if (missing.length === 0) return;
  if (process.getuid() !== 0 || !isInstalled("apt-get")) {
    console.log(`missing: ${names}; their tests are skipped. As root on Debian they would be installed.`);
    return;
  }
  console.log(`installing from Debian: ${names}`);
  withoutStartingDaemons(() => {
    if (install(names.split(" "))) return;
    aptGet(["update"]);
    if (!install(names.split(" ")))
      throw new Error(`apt-get could not install ${names}; its output is above`);
  });
}

function isInstalled(program) {
  return SEARCH_PATH.some((folder) => existsSync(path.join(folder, program)));
}

function install(names) {
  return aptGet(["install", "--yes", "--no-install-recommends", ...names]);
}

function aptGet(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const { status, stdout, stderr } = spawnSync("apt-get", ["-qq", ...args], {
    env,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (status !== 0) console.log(`apt-get ${args[0]}: ${stdout}${stderr}`.trimEnd());
  return status === 0;
}

/** policy-rc.d answering 101 is how Debian is told to start no service on installation (invoke-rc.d(8)). */
function withoutStartingDaemons(action) {
  if (existsSync(POLICY)) renameSync(POLICY, POLICY_ASIDE);
  writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    action();
  } finally {
    rmSync(POLICY, { force: true });
    if (existsSync(POLICY_ASIDE)) renameSync(POLICY_ASIDE, POLICY);
  }
}
