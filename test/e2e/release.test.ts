/** `npm run release`, with real git in a repository of its own: what it makes, what it refuses, what a failure leaves. */

import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  cloneTemplate,
  createTemplate,
  QUICK_BUILD,
  type ReleaseCheckout,
} from "../support/release-checkout.ts";

const PACKAGE = "mkdir -p release/npm && echo deb > release/tulle.deb && echo tgz > release/npm/tulle.tgz";
const QUICK = { build: QUICK_BUILD, package: PACKAGE };
const NEXT = "99.0.0";

let template: ReleaseCheckout;
let checkout: ReleaseCheckout;

beforeAll(() => {
  template = createTemplate();
});
beforeEach(() => {
  checkout = cloneTemplate(template);
});
afterEach(() => checkout.dispose());
afterAll(() => template.dispose());

function withScripts(scripts: Readonly<Record<string, string>>): void {
  checkout.setScripts(scripts);
  checkout.commit();
}

/** Everything that a failed release must leave as it was. */
const stateOf = () => ({
  head: checkout.git("rev-parse", "HEAD"),
  refs: checkout.git("for-each-ref"),
  status: checkout.git("status", "--porcelain"),
  files: [
    "package.json",
    "package-lock.json",
    "CHANGELOG.md",
    "docs/install.md",
    "deploy/release/releases.json",
  ].map(checkout.read),
});

function expectRefusal(args: readonly string[], message: string | RegExp): void {
  const before = stateOf();
  const { status, stdout, stderr } = checkout.release(...args);
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(/^release: /);
  expect(stdout).toBe("");
  expect(status).toBe(1);
  expect(stateOf()).toEqual(before);
}

describe("a release", () => {
  it("has the version everywhere, a dated changelog, a tag with notes, checksums and a record", () => {
    withScripts(QUICK);
    const before = checkout.git("rev-parse", "HEAD");
    const { status, stdout, stderr } = checkout.npm("run", "--silent", "release", "--", NEXT);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const commit = checkout.git("rev-parse", `v${NEXT}^{commit}`);
    const date = new Date().toISOString().slice(0, 10);

    expect(checkout.git("status", "--porcelain")).toBe("");
    expect(checkout.git("log", "--format=%s", `${before}..HEAD`).split("\n")).toEqual([
      `release: record the commit of version ${NEXT}`,
      `release: cut version ${NEXT}`,
    ]);
    expect(checkout.git("rev-parse", "HEAD~1")).toBe(commit);
    const changed = checkout.git("diff", "--name-only", before, commit).split("\n");
    expect(changed).toEqual(["CHANGELOG.md", "docs/install.md", "package-lock.json", "package.json"]);
    expect(checkout.read("docs/install.md")).toContain(`tulle_${NEXT}-1_amd64.deb`);
    expect(checkout.git("diff", "--numstat", before, commit, "--", "*.json")).toBe(
      "2\t2\tpackage-lock.json\n1\t1\tpackage.json",
    );
    expect(JSON.parse(checkout.read("package-lock.json"))).toMatchObject({
      version: NEXT,
      packages: { "": { version: NEXT } },
    });
    const releases = JSON.parse(checkout.read("deploy/release/releases.json")) as Record<string, object>;
    expect(Object.entries(releases).at(-1)).toEqual([NEXT, { date, commit }]);

    const notes = checkout.git("for-each-ref", "--format=%(contents)", `refs/tags/v${NEXT}`);
    expect(checkout.git("cat-file", "-t", `v${NEXT}`)).toBe("tag");
    const [, section = ""] = checkout.read("CHANGELOG.md").split(`\n## ${NEXT} - ${date}\n`);
    expect(notes).toBe(`tulle ${NEXT}\n\n${section.split("\n## ")[0]?.trim()}`);
    expect(notes).toContain("\n- News.");

    const folder = join(checkout.folder, "release");
    const sums = spawnSync("sha256sum", ["--check", "SHA256SUMS"], { cwd: folder, encoding: "utf8" });
    expect(sums.stdout).toBe("npm/tulle.tgz: OK\ntulle.deb: OK\n");
    expect(stdout).toContain(`git push --atomic origin main v${NEXT}`);
    expect(stdout).toContain("release/tulle.deb");
  });

  it("follows another one, from the real build, without packages", () => {
    checkout.write(
      "CHANGELOG.md",
      checkout.read("CHANGELOG.md").replace(/^## Unreleased$/m, "$&\n\n- More."),
    );
    checkout.commit();
    const first = checkout.release(NEXT, "--without-packages");
    expect(first.stderr).toBe("");
    expect(first.status).toBe(0);
    expectRefusal([NEXT], `tag v${NEXT} exists, at `);
    expectRefusal(["99.0.1"], 'the section "## Unreleased" has no entries');
    const changelog = checkout.read("CHANGELOG.md").replace("## Unreleased\n", "## Unreleased\n\n- A bug.\n");
    checkout.write("CHANGELOG.md", changelog);
    withScripts({ build: QUICK_BUILD });
    const second = checkout.release("99.0.1", "--without-packages");
    expect(second.stderr).toBe("");
    expect(checkout.git("tag", "--list")).toBe(`v${NEXT}\nv99.0.1`);
    expect(checkout.git("tag", "--list", "--format=%(contents:body)", "v99.0.1").trim()).toBe("- A bug.");
  });

  it("changes nothing with --dry-run", () => {
    withScripts(QUICK);
    const before = stateOf();
    const { status, stdout } = checkout.release(NEXT, "--dry-run");
    expect(stdout).toBe(`version ${NEXT} can be released; nothing was changed\n`);
    expect(status).toBe(0);
    expect(stateOf()).toEqual(before);
  });
});

describe("a release is refused", () => {
  it.each([
    [["v99.0.0"], /version "v99\.0\.0" is not of the form X\.Y\.Z, such as 0\.2\.0; usage: /],
    [["99.0"], /version "99\.0" is not of the form/],
    [["99.0.0-rc.1"], /is not of the form/],
    [[], /one version is needed, not 0; usage: npm run release/],
    [["99.0.0", "99.0.1"], /one version is needed, not 2/],
    [["--force", "99.0.0"], /Unknown option '--force'.*usage: /],
    [["0.0.9"], /version 0\.0\.9 is not greater than \d+\.\d+\.\d+, the last one: choose a greater one/],
  ])("for the arguments %j", (args, message) => expectRefusal(args, message));

  it("for the version that it has", () => {
    const { version } = JSON.parse(checkout.read("package.json")) as { readonly version: string };
    expectRefusal([version], `version ${version} is not greater than ${version}`);
  });

  it("with changed, new and staged files, of which it names ten", () => {
    checkout.write("README.md", "changed");
    checkout.write("new.txt", "new");
    expectRefusal([NEXT], /the checkout has changes:\n {3}M README\.md\n {2}\?\? new\.txt\ncommit them, or /);
    checkout.git("add", "--all");
    expectRefusal([NEXT], /\n {2}M {2}README\.md\n {2}A {2}new\.txt\n/);
    for (let count = 0; count < 20; count++) checkout.write(`new-${count}.txt`, "new");
    expectRefusal([NEXT], "… and 12 more");
  });

  it("when the tag exists, or a greater one", () => {
    checkout.git("tag", "v99.0.0");
    expectRefusal([NEXT], /tag v99\.0\.0 exists, at [0-9a-f]{12}: choose another version, or run "git tag /);
    expectRefusal(["98.0.0"], "version 98.0.0 is not greater than 99.0.0, the last one");
  });

  it("without entries in the changelog, and without the section", () => {
    const text = checkout.read("CHANGELOG.md");
    const former = text.slice(text.search(/^## \d/m));
    checkout.write("CHANGELOG.md", `# Changelog\n\n## Unreleased\n\n${former}`);
    checkout.commit();
    expectRefusal([NEXT], 'CHANGELOG.md: the section "## Unreleased" has no entries; add a line');
    checkout.write("CHANGELOG.md", `# Changelog\n\n${former}`);
    checkout.commit();
    expectRefusal([NEXT], 'CHANGELOG.md has no section "## Unreleased"');
  });

  it("on no branch, and on another one than main", () => {
    checkout.git("checkout", "--quiet", "--detach");
    expectRefusal([NEXT], "HEAD is detached: releases are cut from main, check it out\n");
    checkout.git("checkout", "--quiet", "-b", "fix/typo");
    expectRefusal(
      [NEXT],
      "the checkout is on the branch fix/typo: releases are cut from main, check it out\n",
    );
  });

  it("when git does not know its author", () => {
    for (const name of ["user.name", "user.email"]) checkout.git("config", "--unset", name);
    checkout.git("config", "user.useConfigOnly", "true");
    expectRefusal(
      [NEXT],
      'git has no name for the commit: set it with "git config user.name" and user.email',
    );
  });

  it("outside a git checkout", () => {
    spawnSync("mv", [".git", "no-git"], { cwd: checkout.folder });
    const { status, stderr } = checkout.release(NEXT);
    expect(stderr).toMatch(/is not a git checkout \(fatal: not a git repository .*\): clone the repository/s);
    expect(status).toBe(1);
  });
});

describe("a step that fails leaves the checkout as it was:", () => {
  function expectFailure(message: string | RegExp): void {
    const before = stateOf();
    const { status, stderr } = checkout.release(NEXT);
    expect(stderr).toMatch(message);
    expect(stderr).toContain("The checkout is as it was");
    expect(status).toBe(1);
    expect(stateOf()).toEqual(before);
  }

  it.each([
    ["the build", { ...QUICK, build: "exit 3" }, "npm run --silent build failed: exit code 3"],
    [
      "a build of another version",
      { ...QUICK, build: "node -e 0" },
      'the build calls itself "", not "tulled 99',
    ],
    ["the packages", { ...QUICK, package: "exit 4" }, "package -- --arch all failed: exit code 4"],
    ["packages that are absent", { ...QUICK, package: "true" }, "npm run package wrote nothing to release/"],
  ])("%s", (_, scripts, message) => {
    withScripts(scripts);
    expectFailure(message);
  });

  it("a step that changes files of the project", () => {
    withScripts({ ...QUICK, package: `${PACKAGE} && echo >> CHANGELOG.md` });
    expectFailure(/a step changed files that are not ignored:\n +M CHANGELOG\.md/);
  });

  it("a hook that rejects the commit", () => {
    withScripts(QUICK);
    writeFileSync(join(checkout.folder, ".git/hooks/commit-msg"), "#!/bin/sh\necho not today >&2\nexit 1\n", {
      mode: 0o755,
    });
    expectFailure("git commit: not today");
  });

  it("a tag that cannot be written, after the commit", () => {
    withScripts(QUICK);
    writeFileSync(join(checkout.folder, `.git/refs/tags/v${NEXT}.lock`), "");
    expectFailure(/git tag: .*v99\.0\.0/);
  });

  it("an interruption from the terminal", () => {
    withScripts({ ...QUICK, build: "kill -INT $PPID; kill -INT $$" });
    expectFailure(/npm run --silent build failed/);
  });

  it.each(["SIGHUP", "SIGINT", "SIGTERM"] as const)("%s, which ends the step that runs", async (signal) => {
    withScripts({
      ...QUICK,
      build: "mkdir -p dist && echo $$ >dist/pid.new && mv dist/pid.new dist/pid && exec sleep 300",
    });
    const before = stateOf();
    const release = checkout.startRelease(NEXT);
    const ended = once(release, "exit");
    const file = join(checkout.folder, "dist/pid");
    await expect.poll(() => existsSync(file), { timeout: 30_000 }).toBe(true);
    expect(stateOf()).not.toEqual(before);
    release.kill(signal);
    expect(await ended).toEqual([1, null]);
    expect(stateOf()).toEqual(before);
    expect(existsSync(`/proc/${checkout.read("dist/pid").trim()}`)).toBe(false);
  });
});
