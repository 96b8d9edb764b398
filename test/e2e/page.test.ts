/**
 * The page of tulled in a real browser: a broken pair of two other hosts is found with it alone; hostile records; tokens.
 *
 * PAGE_SHOTS names a folder for screenshots, for a person to look at.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import type { BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingBrowser, type OpenBrowser, openBrowser } from "../support/browser.ts";
import { describeWithEtcd, type Host, useEtcdLab } from "../support/hosts.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../support/netns.ts";
import { RunningScene } from "../support/page-scene.ts";
import { SOON } from "../support/patience.ts";
import { whileHeld } from "../support/port-holder.ts";

const URL = "http://127.0.0.1:8080/";
const TOKEN = "a-token-of-the-end-to-end-test";
const WAIT = { timeout: 60_000 };

/** A page that fails the test by any error of a script or of the content security policy. */
async function openPage(
  { browser }: OpenBrowser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Page & { readonly faults: string[] }> {
  const page = await browser.newPage({ viewport: { width: 1360, height: 1000 }, ...options });
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("dialog", (dialog) => faults.push(`dialog ${dialog.message()}`));
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) faults.push(message.text());
  });
  await page.goto(url);
  return Object.assign(page, { faults });
}

async function shoot(page: Page, name: string): Promise<void> {
  const folder = process.env.PAGE_SHOTS;
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`) });
}

describe.skipIf(missingBrowser() !== null)("the page", () => {
  describeWithEtcd("of a network", () => {
    const net = useEtcdLab("page", {
      hosts: 4,
      config: { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } },
    });
    let opened: OpenBrowser;
    let tokenFile = "";
    const healthRecords = (): string => net.etcd.ctl("get", "--prefix", `${net.prefix}/tulle/health/`);
    const sh = (host: Host, ...commands: readonly string[]): void => {
      for (const command of commands) host.run("sh", "-c", command);
    };

    /** Whether each host has measured the paths to all others: before, a path that breaks has a different cause. */
    const isMeasured = async (): Promise<boolean> => {
      const reports = await Promise.all(net.lab.hosts.map(({ daemon }) => daemon.status()));
      return reports.every(
        (report) =>
          report?.peers.length === net.lab.hosts.length - 1 &&
          report.peers.every(({ health }) => health?.state === "good"),
      );
    };

    beforeAll(async () => {
      tokenFile = join(net.lab.directory, "ui-token");
      writeFileSync(tokenFile, `${TOKEN}\n`, { mode: 0o600 });
      const uiOf = (index: number): readonly string[] => {
        if (index === 0) return ["--ui=127.0.0.1:8080"];
        return index === 1 ? [`--ui=${net.host(2).address}:8080`, `--ui-token-file=${tokenFile}`] : [];
      };
      await Promise.all(net.lab.hosts.map((host, index) => host.daemon.start(...net.flags, ...uiOf(index))));
      opened = await openBrowser(net.host(1).netns);
    });
    afterAll(() => opened?.close());

    it("shows a healthy network, and no health record exists", async () => {
      const page = await openPage(opened, URL);
      await page
        .locator("#summary")
        .filter({ hasText: "4 hosts, all paths work, as far as is known" })
        .waitFor(WAIT);
      await expect.poll(() => page.locator(".dots circle[class^=band]").count(), SOON).toBe(3);
      await shoot(page, "healthy");
      expect(healthRecords()).toBe("");
      expect(page.faults).toEqual([]);
      await page.close();
    });

    it("shows a broken pair of two other hosts, and when it works again", async () => {
      const [left, right] = [net.host(2), net.host(3)];
      const page = await openPage(opened, URL, { colorScheme: "dark" });
      await page.locator("#summary").filter({ hasText: "4 hosts, all paths work" }).waitFor(WAIT);
      await expect.poll(isMeasured, WAIT).toBe(true);
      const rule = `ip saddr ${left.address} udp dport 8472 drop`;
      const chain = "add chain inet fault c { type filter hook input priority -500; }";
      sh(right, "nft add table inet fault", `nft "${chain}"`, `nft "add rule inet fault c ${rule}"`);
      const problem = page.locator("#problem-list li").filter({ hasText: /tunnel-filtered|local-firewall/ });
      // Both ends report it, one after the other.
      const seen = async () => (await problem.allTextContents()).join();
      await expect.poll(seen, WAIT).toMatch(/What to do: let the firewalls? /);
      // In the name as soon as the hosts' records tell that all have the same name.
      await expect.poll(seen, SOON).toContain(right.address);
      await expect.poll(() => page.locator("#summary").textContent(), SOON).toContain("2 with broken paths");
      await expect.poll(() => page.locator(".chords path").count(), SOON).toBe(1);
      await shoot(page, "broken-dark");

      await problem.first().getByRole("button").first().click();
      await expect.poll(() => page.locator("#detail").textContent(), SOON).toContain("Broken paths");
      await page.keyboard.press("Escape");
      expect(await page.locator("#detail").isHidden()).toBe(true);

      await page.getByRole("tab", { name: "Picture" }).focus();
      await page.keyboard.press("ArrowRight");
      const cell = page.locator("#matrix rect.bad");
      const told = (): Promise<string | null> => page.locator("#matrix-cell").textContent();
      // An update draws the cells again, and may do so between the two steps of a hover.
      const pointAndRead = async (): Promise<string | null> => {
        await cell.first().hover({ force: true });
        return await told();
      };
      await expect.poll(pointAndRead, SOON).toMatch(/tunnel-filtered|local-firewall/);
      await page.keyboard.press("ArrowRight");
      await page.getByLabel("only hosts with problems").check();
      const rows = (): Promise<number> => page.locator("#hosts tbody tr").count();
      await expect.poll(rows, SOON).toBe(2);
      const cause = await problem.locator(".cause").first().textContent();
      await page.getByLabel("Search").fill(`${right.address} ${cause}`);
      expect(await rows()).toBe(1);
      await page.getByLabel("Search").fill("no such host");
      expect(await rows()).toBe(0);

      await page.getByRole("tab", { name: "Matrix" }).click();
      expect(await told()).toMatch(/tunnel-filtered|local-firewall/);
      sh(right, "nft delete table inet fault");
      await page.getByText("No broken path is known.").waitFor(WAIT);
      await expect.poll(told, SOON).toContain("no problem reported");
      await expect.poll(healthRecords, WAIT).toBe("");
      expect(page.faults).toEqual([]);
      await page.close();
    });

    it("shows this host with its devices, repairs and events", async () => {
      const page = await openPage(opened, `${URL}#hosts`);
      const own = page.locator("#hosts tbody tr").filter({ hasText: "this host" });
      await own.getByRole("button").click();
      const detail = page.locator("#detail");
      await expect.poll(() => detail.textContent(), SOON).toContain("flannel.1, MTU 1450");
      await expect.poll(() => detail.textContent(), SOON).toContain("serving the page");
      net.host(1).run("ip", "route", "flush", "proto", "116");
      await expect.poll(() => detail.textContent(), WAIT).toMatch(/Repaired in the kernel.*route: \d+/);
      await shoot(page, "own");
      expect(page.faults).toEqual([]);
      await page.close();
    });

    it("shows text of others as text, and ignores what is not a record", async () => {
      const status = await net.host(3).daemon.status();
      const peer = status?.lease.key ?? "";
      const file = join(net.host(4).stateDirectory, "identity.json");
      const { nodeId } = JSON.parse(net.host(4).run("cat", file)) as { nodeId: string };
      const seen = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202e";
      const record = (more: object): string => JSON.stringify({ version: 1, bad: [], ...more });
      net.put(`tulle/health/${nodeId}`, record({ bad: [{ peer, cause: "host-down", seen }] }));
      net.put("tulle/health/<script>alert(3)</script>", record({}));
      net.put(
        `tulle/health/${"e".repeat(32)}`,
        record({ bad: [{ peer, cause: "host-down", seen: "no lease" }] }),
      );
      net.put(`tulle/health/${"d".repeat(32)}`, "x".repeat(60_000));
      const page = await openPage(opened, URL);
      const problems = page.locator("#problem-list");
      await expect.poll(() => problems.textContent(), SOON).toContain("<img src=x onerror=alert(1)><script>");
      await expect
        .poll(() => problems.textContent(), SOON)
        .toMatch(/health record .* is ignored: .* delete it/);
      expect(await problems.textContent()).not.toContain("no lease");
      expect(await page.locator("#problem-list img, #problem-list script").count()).toBe(0);
      await shoot(page, "hostile");
      const told = (await net.host(1).daemon.status())?.problems ?? [];
      expect(told.filter((text) => text.includes("health record"))).toHaveLength(1);
      expect(page.faults).toEqual([]);
      await page.close();
      for (const name of [nodeId, "<script>alert(3)</script>", "e".repeat(32), "d".repeat(32)])
        net.delete(`tulle/health/${name}`);
    });

    it("asks for the token on an address that other hosts reach", async () => {
      const url = `http://${net.host(2).address}:8080/`;
      const page = await openPage(opened, url);
      await page.locator("#token").waitFor(WAIT);
      await shoot(page, "token");
      await page.locator("#token").fill("a-wrong-token-of-the-test");
      await page.getByRole("button", { name: "Open" }).click();
      await expect.poll(() => page.getByRole("alert").textContent(), SOON).toContain("not the token");
      expect(await page.locator("#work").isHidden()).toBe(true);
      await page.locator("#token").fill(TOKEN);
      await page.keyboard.press("Enter");
      await page.locator("#summary").filter({ hasText: "4 hosts" }).waitFor(WAIT);
      await page.reload();
      await page.locator("#summary").filter({ hasText: "4 hosts" }).waitFor(WAIT);
      expect(page.faults).toEqual([]);
      await page.close();
      const curl = (...args: readonly string[]): string =>
        net.host(1).run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", ...args);
      expect(curl(`${url}api/events`)).toBe("401");
      expect(curl("-H", `Authorization: Bearer ${TOKEN}`, `${url}api/events`)).toBe("200");
      expect(curl("-H", "Host: evil.example", `${URL}api/events`)).toBe("403");
      expect(curl("-X", "DELETE", URL)).toBe("405");
      const stream = net.host(1).run("sh", "-c", `curl -s -i --max-time 1 ${URL}api/stream | head -20; true`);
      // Neither a browser nor a proxy may keep it, or hold it back.
      expect(stream).toMatch(/^cache-control: no-store, no-transform\r$/m);
      expect(stream).toMatch(/^x-accel-buffering: no\r$/m);
    });

    it("calls a host by its new name", async () => {
      const page = await openPage(opened, URL);
      const { nodeId } = JSON.parse(
        net.host(4).run("cat", join(net.host(4).stateDirectory, "identity.json")),
      ) as { nodeId: string };
      await page.locator("#summary").filter({ hasText: "4 hosts" }).waitFor(WAIT);
      // Its daemon would write the record again.
      await net.host(4).daemon.stop();
      const record = { name: "renamed-host", version: "1.0.0", kernel: "6.1.0", backends: [] };
      net.put(`tulle/hosts/${nodeId}`, JSON.stringify(record));
      await page.locator("#picture text").filter({ hasText: "renamed-host" }).waitFor(WAIT);
      await page.close();
      await net.host(4).daemon.start(...net.flags);
    });

    it("does not keep the network from starting while its port is in use", async () => {
      const { daemon } = net.host(4);
      await daemon.stop();
      const problems = async (): Promise<string> => ((await daemon.status())?.problems ?? []).join("\n");
      await whileHeld(
        net.host(4),
        8080,
        async () => {
          await daemon.start(...net.flags, "--ui=127.0.0.1:8080");
          expect(await problems()).toMatch(/the page is not served, which is retried: .*8080/);
        },
        "tcp",
      );
      await expect.poll(problems, WAIT).not.toContain("the page is not served");
      expect(net.host(4).run("curl", "-s", URL)).toContain("<title>tulle</title>");
    });

    it("does not start on such an address without a token", async () => {
      const { daemon } = net.host(4);
      await daemon.stop();
      daemon.spawn(...net.flags, "--ui=0.0.0.0:8080");
      expect(await daemon.ended()).toBe(1);
      expect(daemon.log).toContain("-ui-token-file");
      await daemon.start(...net.flags);
    });
  });

  describeAsRoot("of a large network", () => {
    let netns: TestNetns;
    let opened: OpenBrowser;
    let scene: RunningScene;
    beforeAll(async () => {
      const folder = process.env.PAGE_SHOTS;
      if (folder) mkdirSync(folder, { recursive: true });
      netns = createNetns("page");
      opened = await openBrowser(netns);
      scene = await RunningScene.start(netns, { hosts: 5_000, broken: 4 });
    });
    afterAll(async () => {
      await opened?.close();
      await scene?.stop();
      netns?.dispose();
    });

    it("shows 5,000 hosts: all as a picture, some as a list that is searched", async () => {
      const page = await openPage(opened, URL);
      await page.locator("#summary").filter({ hasText: "5,000 hosts, 5 with broken paths" }).waitFor(WAIT);
      await expect.poll(() => page.locator(".dots circle").count(), SOON).toBe(5_000);
      await shoot(page, "large");
      await page.getByRole("tab", { name: "Matrix" }).click();
      await page.getByText("The matrix shows up to 200 hosts").waitFor(WAIT);
      await page.getByRole("tab", { name: "Hosts" }).click();
      expect(await page.locator("#hosts tbody tr").count()).toBe(100);
      await page.getByRole("button", { name: /Show 100 more/ }).click();
      expect(await page.locator("#hosts tbody tr").count()).toBe(200);
      await page.getByLabel("Search").fill("192.168.19.130");
      expect(await page.locator("#hosts tbody tr").count()).toBe(1);
      expect(page.faults).toEqual([]);
      await page.close();
    });

    it("has a name for each control, and landmarks", async () => {
      const page = await openPage(opened, URL);
      await page.locator("#summary").filter({ hasText: "5,000 hosts" }).waitFor(WAIT);
      for (const role of ["banner", "main", "navigation", "tablist", "tabpanel"] as const)
        expect(await page.getByRole(role).count(), role).toBe(1);
      const nameless = await page.evaluate(
        `[...document.querySelectorAll("button, input")].filter((each) =>
          !(each.textContent.trim() || each.getAttribute("aria-label") || each.labels?.length || each.hidden)).length`,
      );
      expect(nameless).toBe(0);
      await page.keyboard.press("Tab");
      expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to the network");
      await page.close();
    });
  });
});
