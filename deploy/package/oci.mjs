/**
 * The image, made without a daemon: an archive in the layout of the OCI image specification, with the list of images
 * that `docker load` reads, so that Docker before 25 loads it as well as containerd and podman.
 */

import { mkdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { inTemporaryFolder } from "../cleanup.mjs";
import { licenceExpression } from "../licences.mjs";
import { sha256 } from "./checksums.mjs";
import { DEBIAN_ARCHITECTURES } from "./deb.mjs";
import { SUMMARY } from "./description.mjs";
import { imagePackages, imageTree } from "./image-tree.mjs";
import { billOfMaterials } from "./sbom.mjs";
import { archive, gzip, setTimes, stage } from "./stage.mjs";

const BLOBS = "blobs/sha256";
const MEDIA_TYPES = {
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
};

/** Without a registry: an image of this name is never pulled. */
const NAME = "localhost/tulle";

/** Writes `tulle-VERSION-oci-ARCH.tar` into `outDir` and returns its name in a list. `release`: see release.mjs. */
export function buildImage(release, outDir) {
  const architecture = DEBIAN_ARCHITECTURES[release.arch];
  const file = path.join(outDir, `tulle-${release.version}-oci-${architecture}.tar`);
  return inTemporaryFolder("tulle-oci-", async (work) => {
    const layout = path.join(work, "layout");
    mkdirSync(path.join(layout, BLOBS), { recursive: true });
    const debian = imagePackages(architecture);
    const layer = await makeLayer(release, debian, work);
    const licences = licenceExpression([...release.packages, ...debian]);
    await writeLayout(layout, layer, { ...release, architecture, licences });
    setTimes(layout, release.epoch);
    mkdirSync(outDir, { recursive: true });
    await archive(layout, ["oci-layout", "index.json", "manifest.json", "blobs"], file, release.epoch);
    return [file];
  });
}

/** The only layer: its archive, compressed, and the digest of the archive itself. */
async function makeLayer(release, debian, work) {
  const sbom = billOfMaterials({ ...release, debian });
  const root = path.join(work, "root");
  stage(imageTree({ ...release, sbom, debian }), root, release.epoch);
  const tar = path.join(work, "layer.tar");
  await archive(root, ["."], tar, release.epoch);
  const diffId = `sha256:${await sha256(tar)}`;
  return { diffId, file: await gzip(tar, release.isFast) };
}

async function writeLayout(layout, layer, { version, epoch, architecture, licences }) {
  const created = new Date(epoch * 1000).toISOString();
  const platform = { architecture, os: "linux" };
  const labels = {
    "org.opencontainers.image.title": "tulle",
    "org.opencontainers.image.description": SUMMARY,
    "org.opencontainers.image.version": version,
    "org.opencontainers.image.licenses": licences,
    "org.opencontainers.image.created": created,
  };
  const config = await putJson(layout, MEDIA_TYPES.config, {
    created,
    ...platform,
    config: {
      Entrypoint: ["/usr/bin/tulled"],
      Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
      WorkingDir: "/",
      StopSignal: "SIGTERM",
      Labels: labels,
    },
    rootfs: { type: "layers", diff_ids: [layer.diffId] },
    history: [{ created, created_by: "npm run package" }],
  });
  const blob = await putFile(layout, MEDIA_TYPES.layer, layer.file);
  const manifest = await putJson(layout, MEDIA_TYPES.manifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config,
    layers: [blob],
    annotations: labels,
  });
  const name = `${NAME}:${version}`;
  writeJson(path.join(layout, "oci-layout"), { imageLayoutVersion: "1.0.0" });
  writeJson(path.join(layout, "index.json"), {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.index,
    manifests: [
      {
        ...manifest,
        platform,
        annotations: {
          "io.containerd.image.name": name,
          "org.opencontainers.image.ref.name": version,
        },
      },
    ],
  });
  writeJson(path.join(layout, "manifest.json"), [
    { Config: blobPath(config), RepoTags: [name], Layers: [blobPath(blob)] },
  ]);
}

async function putJson(layout, mediaType, value) {
  const file = path.join(layout, "blob.json");
  writeJson(file, value);
  return putFile(layout, mediaType, file);
}

/** Moves a file to its place among the blobs and returns its descriptor. */
async function putFile(layout, mediaType, file) {
  const descriptor = { mediaType, digest: `sha256:${await sha256(file)}`, size: statSync(file).size };
  const place = path.join(layout, blobPath(descriptor));
  renameSync(file, place);
  return descriptor;
}

function blobPath({ digest }) {
  return `${BLOBS}/${digest.slice("sha256:".length)}`;
}

function writeJson(file, value) {
  writeFileSync(file, JSON.stringify(value));
}
