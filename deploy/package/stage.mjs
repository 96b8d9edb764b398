/**
 * Puts a package's entries into a folder, and archives that folder so that the same entries give the same bytes:
 * sorted, owned by root, with one time for all.
 */

import {
  chmodSync,
  copyFileSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { runTool } from "./run-tool.mjs";

const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;

/** Writes entries (see tree.mjs) below `folder`. `epoch`: time of all files, in seconds since 1970. */
export function stage(entries, folder, epoch) {
  mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
  for (const entry of entries) {
    putEntry(entry, path.join(folder, entry.path));
  }
  setTimes(folder, epoch);
}

function putEntry(entry, target) {
  mkdirSync(entry.isFolder ? target : path.dirname(target), { recursive: true, mode: FOLDER_MODE });
  if (entry.link !== undefined) {
    symlinkSync(entry.link, target);
    return;
  }
  if (entry.file !== undefined) copyFileSync(entry.file, target);
  else if (entry.content !== undefined) writeFileSync(target, entry.content);
  chmodSync(target, entry.mode ?? (entry.isFolder ? FOLDER_MODE : FILE_MODE));
}

/** Of a folder and all that is in it; the deepest first, because a change of a folder is one of its own time. */
export function setTimes(folder, epoch) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) setTimes(file, epoch);
    else lutimesSync(file, epoch, epoch);
  }
  utimesSync(folder, epoch, epoch);
}

/** Archives `names` of `folder` into `archive` (tar(1)). */
export async function archive(folder, names, archiveFile, epoch) {
  const options = [
    "--sort=name",
    `--mtime=@${epoch}`,
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "--format=gnu",
  ];
  await runTool("tar", ["--create", ...options, "--file", archiveFile, "--directory", folder, ...names]);
}

/** Replaces a file by FILE.gz, without its name and time, and returns that name. `isFast`: compress little. */
export async function gzip(file, isFast) {
  if (isFast) await runTool("gzip", ["--no-name", "--force", "-1", file]);
  // A few percent smaller than zlib's best.
  else await runTool("libdeflate-gzip", ["-12", "-f", file]);
  return `${file}.gz`;
}
