export type PackageFormat = "tarball" | "deb" | "rpm" | "npm" | "oci" | "sbom";

/** An executable, and what buildExecutable returned for it. */
export interface BuiltExecutable {
  readonly arch: "x64" | "arm64";
  readonly executable: string;
  readonly inputs: readonly string[];
  readonly packages: readonly string[];
}

export interface PackageOptions extends BuiltExecutable {
  /** Default that of package.json. */
  readonly version?: string;
  /** Compress little. Default false. */
  readonly isFast?: boolean;
}

/** Writes packages into `outDir` and returns their files. */
export function writePackages(
  options: PackageOptions,
  outDir: string,
  formats?: readonly PackageFormat[],
): Promise<readonly string[]>;
