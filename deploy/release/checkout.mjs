/** The git checkout that a release is cut from: what it is, what it gets, and how it becomes what it was. */

import { spawnSync } from "node:child_process";
import { ReleaseError } from "./release-error.mjs";

export class Checkout {
  #root;

  /** Throws ReleaseError when `root` is not the top folder of a git checkout that git accepts. */
  constructor(root) {
    this.#root = root;
    const { status, stdout, stderr, error } = this.#run(["rev-parse", "--show-prefix"]);
    if (status === 0 && stdout.trim() === "") return;
    const reason = error?.message ?? (stderr.trim() || "it is a part of another one");
    throw new ReleaseError(`${root} is not a git checkout (${reason}): clone the repository`);
  }

  /** Throws ReleaseError unless the checkout is on `branch`, without any change, and git has an author's name. */
  requireReady(branch) {
    const head = this.#try("symbolic-ref", "--quiet", "--short", "HEAD");
    if (head !== branch)
      throw new ReleaseError(
        `${head === null ? "HEAD is detached" : `the checkout is on the branch ${head}`}: releases are cut from ${branch}, check it out`,
      );
    const changes = this.changes();
    if (changes.length > 0)
      throw new ReleaseError(
        `the checkout has changes:\n${listOf(changes)}\ncommit them, or set them aside with "git stash --include-untracked"`,
      );
    if (this.#try("var", "GIT_COMMITTER_IDENT") === null)
      throw new ReleaseError(
        'git has no name for the commit: set it with "git config user.name" and user.email',
      );
  }

  /** Changed and new files, as `git status --porcelain` shows them; ignored ones are left out. */
  changes() {
    return this.#git("status", "--porcelain").split("\n").filter(Boolean);
  }

  get head() {
    return this.#git("rev-parse", "HEAD");
  }

  /** The name of the first remote; null when there is none. */
  get remote() {
    return this.#git("remote").split("\n").filter(Boolean)[0] ?? null;
  }

  /** The commit of a tag; null when the tag does not exist. */
  commitOfTag(tag) {
    return this.#try("rev-parse", "--verify", "--quiet", `refs/tags/${tag}^{commit}`);
  }

  /** The names of all tags that begin with `v`. */
  versionTags() {
    return this.#git("tag", "--list", "v*").split("\n").filter(Boolean);
  }

  commit(message, files) {
    this.#git("commit", "--quiet", `--message=${message}`, "--", ...files);
  }

  /** An annotated tag at HEAD; lines of the message that begin with # are kept. */
  tag(name, message) {
    this.#git("tag", "--annotate", "--cleanup=whitespace", `--message=${message}`, name);
  }

  /** Takes back the tag and all commits since `head`, and restores the files. Other files are not touched. */
  restore(head, tag, files) {
    if (this.commitOfTag(tag) !== null) this.#git("tag", "--delete", tag);
    this.#git("reset", "--quiet", "--soft", head);
    this.#git("restore", `--source=${head}`, "--staged", "--worktree", "--", ...files);
  }

  /** Trimmed output. Throws ReleaseError with git's message. */
  #git(...args) {
    const { status, stdout, stderr, error } = this.#run(args);
    if (status === 0) return stdout.trimEnd();
    throw new ReleaseError(`git ${args[0]}: ${error?.message ?? (stderr || stdout).trim()}`);
  }

  /** Trimmed output; null when git answers no. */
  #try(...args) {
    const { status, stdout } = this.#run(args);
    return status === 0 ? stdout.trimEnd() : null;
  }

  #run(args) {
    return spawnSync("git", ["-C", this.#root, ...args], { encoding: "utf8" });
  }
}

function listOf(changes) {
  const shown = changes.slice(0, 10).map((line) => `  ${line}`);
  return [...shown, ...(changes.length > 10 ? [`  … and ${changes.length - 10} more`] : [])].join("\n");
}
