/** The page's view of networks and containers, in a real browser, over Docker networks of two hosts. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingBrowser, type OpenBrowser, openBrowser } from "../../support/browser.ts";
import { describeWithDocker } from "../../support/docker.ts";
import { addressOn, create, DockerLab, networksOf, SLEEP, until } from "../../support/docker-lab.ts";
import { SOON } from "../../support/patience.ts";

describe.skipIf(missingBrowser() !== null)("the page", () => {
  describeWithDocker("beside named networks", (engines) => {
    let lab: DockerLab;
    let opened: OpenBrowser;

    beforeAll(async () => {
      lab = new DockerLab("page-nets", 2, engines);
      await lab.build("--ui=127.0.0.1:8080");
      opened = await openBrowser(lab.net.host(1).netns);
    });
    afterAll(async () => {
      await opened?.close();
      await lab.dispose();
    });

    it("shows containers of all hosts on their networks, and those that go", async () => {
      const [one, two] = [lab.docker(1), lab.docker(2)];
      for (const name of ["ov_net1", "ov_net2"]) create(one, name);
      await until(() => networksOf(two).length === 2);
      one.runContainer("bbox1", { options: ["--network", "ov_net1"], command: SLEEP });
      two.runContainer("bbox2", { options: ["--network", "ov_net1"], command: SLEEP });
      two.docker("network", "connect", "ov_net2", "bbox2");

      const page = await opened.browser.newPage();
      await page.goto("http://127.0.0.1:8080/");
      await page.getByRole("tab", { name: "Networks" }).click();
      const rows = (network: string): Promise<string[]> =>
        page
          .getByRole("table", { name: `Containers in ${network}` })
          .locator("tbody tr")
          .allInnerTexts();
      const row = (docker: typeof one, container: string, network: string) =>
        expect.stringMatching(new RegExp(`^${container}\\s+${addressOn(docker, container, network)}\\s`));
      await expect
        .poll(() => rows("ov_net1"), SOON)
        .toEqual([row(one, "bbox1", "ov_net1"), row(two, "bbox2", "ov_net1")]);
      expect(await rows("ov_net2")).toEqual([row(two, "bbox2", "ov_net2")]);

      one.docker("rm", "--force", "bbox1");
      await expect.poll(() => rows("ov_net1"), SOON).toEqual([row(two, "bbox2", "ov_net1")]);
      await page.close();
    });
  });
});
